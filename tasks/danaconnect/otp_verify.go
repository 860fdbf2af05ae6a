package danaconnect

import (
	"context"
	"time"

	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/secret"
	"errand.internal/tasks"
)

// OTPVerify asks whether a person typed the right code. A wrong, expired, used or
// locked code is declined, with the verdict in the result. The task is attempted at
// most once unless the request certainly never left, because a wrong code spends one
// of the person's tries and a right one is used up.
//
// https://help.danaconnect.com/en-us/article/api-rest-one-time-password-otp-api-vnkelx
type OTPVerify struct {
	IDRequest tasks.ID `json:"idRequest" validate:"required" text:"number" clear:"true" doc:"idRequest from the result of the send"`
	OTP       string   `json:"otp" validate:"required,max=64" text:"code" doc:"what the person typed"`
}

// OTPVerdict is the vendor's verdict on a code.
type OTPVerdict = otp.Verified

// Verdict is correct, incorrect, expired, used or locked.
type Verdict = otp.Verdict

// Type implements tasks.Task.
func (OTPVerify) Type() string {
	return "danaconnect:otp:verify"
}

// Policy implements tasks.Task.
func (p OTPVerify) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:     "otp",
		Budget:    time.Minute,
		VendorIDs: []string{string(p.IDRequest)},
		Backoff:   tasks.Backoff{Base: 500 * time.Millisecond, Max: 10 * time.Second},
	}
}

// Result implements tasks.Task.
func (OTPVerify) Result() (r OTPVerdict) {
	return r
}

func verifyOTP(c *basicClient) tasks.Handler[OTPVerify, OTPVerdict] {
	return func(ctx context.Context, p OTPVerify) (OTPVerdict, error) {
		return c.otp.Verify(ctx, otp.Verification{
			IDRequest: string(p.IDRequest),
			OTP:       secret.New(p.OTP),
		})
	}
}
