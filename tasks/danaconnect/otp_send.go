package danaconnect

import (
	"context"
	"time"

	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// OTPSend makes a one-time passcode and sends it over the conversation's channels.
// Done means accepted for sending, not delivered. The task is attempted at most once
// unless the request certainly never left, because each send is a new code. It is
// declined if the recipient has already had as many codes as OTP_RECIPIENT_LIMIT
// allows.
//
// https://help.danaconnect.com/en-us/article/api-rest-one-time-password-otp-api-vnkelx
type OTPSend struct {
	IDConversation int64  `json:"idConversation" validate:"required,min=1" clear:"true" doc:"id of the conversation's activation; a reactivated flow gets a new one"`
	Values         Values `json:"values" validate:"required,min=1" doc:"contact list fields; together they name the recipient"`
	// OTPType is 1 for digits, 2 for digits and letters.
	OTPType int `json:"type" validate:"required,min=1,max=2" clear:"true" doc:"1: numeric, 2: alphanumeric"`
	Length  int `json:"length" validate:"required,min=3,max=12" clear:"true" doc:"number of characters in the code"`
	// SecondsExpiration is how long the code is valid; nil means 300.
	SecondsExpiration *int `json:"secondsExpiration,omitempty" validate:"omitnil,min=1,max=3200" clear:"true" doc:"lifetime of the code in seconds; default 300"`
	// MaximumTries is how many wrong codes are allowed; nil leaves it to the vendor
	// (5).
	MaximumTries *int `json:"maximumTries,omitempty" validate:"omitnil,min=1,max=100" clear:"true" doc:"wrong codes allowed; the vendor's default is 5"`
}

// OTPSent is a code accepted for sending.
type OTPSent = otp.Sent

// maxWait is how long a person waits for a code. A later one only confuses.
const maxWait = 2 * time.Minute

// Type implements tasks.Task.
func (OTPSend) Type() string {
	return "danaconnect:otp:send"
}

// delivery is how long a code takes to arrive, and a person to type it.
const delivery = 5 * time.Second

// Policy implements tasks.Task. A code is sent neither after it would have expired
// nor after maxWait, nor so shortly before that it is of no use when it arrives.
func (p OTPSend) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:    "otp",
		Budget:   min(time.Duration(p.seconds())*time.Second, maxWait),
		Delivery: delivery,
		Subjects: recipientSubjects(p.Values),
		Backoff:  tasks.Backoff{Base: 500 * time.Millisecond, Max: 10 * time.Second},
	}
}

func (p OTPSend) seconds() int {
	if p.SecondsExpiration == nil {
		return otp.DefaultSecondsExpiration
	}
	return *p.SecondsExpiration
}

// Check implements payload.Checker. Two keys may have become one when the blanks
// around them were removed.
func (p OTPSend) Check() []payload.Problem {
	seen := map[string]bool{}
	for _, value := range p.Values {
		if seen[value.Key] {
			return []payload.Problem{{Field: "values", Rule: "has a key twice"}}
		}
		seen[value.Key] = true
	}
	return nil
}

// Result implements tasks.Task.
func (OTPSend) Result() (r OTPSent) {
	return r
}

func sendOTP(c *basicClient) tasks.Handler[OTPSend, OTPSent] {
	return func(ctx context.Context, p OTPSend) (OTPSent, error) {
		return c.recipients.send(ctx, p.Values, func() (OTPSent, error) {
			return c.otp.Send(ctx, otp.Message(p))
		})
	}
}
