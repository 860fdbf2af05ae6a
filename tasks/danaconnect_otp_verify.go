package tasks

import (
	"context"
	"time"

	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/queue"
	"errand.internal/internal/secret"
)

// OTPVerify asks whether a person typed the right code. A wrong, expired, used
// or locked code is declined, with the verdict in the result. It is attempted
// at most once unless the request surely never left: a wrong code spends one
// of the person's tries, a right one is used up.
//
// https://help.danaconnect.com/en-us/article/api-rest-one-time-password-otp-api-vnkelx
type OTPVerify struct {
	IDRequest ID     `json:"idRequest" validate:"required,number" clear:"true" doc:"idRequest of the send"`
	OTP       string `json:"otp" validate:"required,max=64" doc:"what the person typed"`
}

// OTPVerdict is the vendor's word on a code: correct, incorrect, expired, used
// or locked.
type OTPVerdict struct {
	Verdict string `json:"verdict"`
}

// Type implements Task.
func (OTPVerify) Type() string {
	return "danaconnect:otp:verify"
}

// Defaults implements Task.
func (OTPVerify) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:   "otp",
		Budget:  time.Minute,
		Backoff: queue.Backoff{Base: 500 * time.Millisecond, Max: 10 * time.Second},
	}
}

func (OTPVerify) result() (r OTPVerdict) {
	return r
}

type otpVerifier interface {
	Verify(
		ctx context.Context,
		v otp.Verification,
	) (otp.Verified, error)
}

func verifyOTP(c otpVerifier) handler[OTPVerify, OTPVerdict] {
	return func(ctx context.Context, p OTPVerify) (OTPVerdict, error) {
		v, err := c.Verify(
			ctx,
			otp.Verification{
				IDRequest: string(p.IDRequest),
				OTP:       secret.New(p.OTP),
			},
		)
		return OTPVerdict{Verdict: string(v.Verdict)}, err
	}
}
