// Package danaconnectdemo is DANAConnect's part of the demo.
package danaconnectdemo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/demo"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// Vendor shows a one-time passcode from sending to verification.
var Vendor = demo.Vendor{
	NewSandbox:     danaconnecttest.Demo,
	Steps:          steps,
	Commands:       commands,
	PrepareExample: prepareExample,
}

func steps(stage demo.Stage) []demo.Step {
	vendor := stage.Sandbox.(*danaconnecttest.Sandbox)
	message := danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}},
	}
	key := tasks.Key("login-1")
	var sent danaconnect.OTPSent
	verify := func(ctx context.Context, code string) (danaconnect.OTPVerdict, error) {
		return demo.Run(ctx, stage.Client, danaconnect.OTPVerify{
			IDRequest: tasks.ID(sent.IDRequest),
			OTP:       code,
		})
	}
	return []demo.Step{
		{
			Title: "an OTP is sent",
			Run: func(ctx context.Context) (string, error) {
				var err error
				sent, err = demo.Run(ctx, stage.Client, message, key)
				return "done: idRequest " + sent.IDRequest, err
			},
		},
		{
			Title: "the same key again sends nothing",
			Run: func(ctx context.Context) (string, error) {
				before := vendor.Effects(danaconnecttest.OpSend)
				err := demo.WantDuplicate(ctx, stage.Client, message, key)
				if err == nil && vendor.Effects(danaconnecttest.OpSend) != before {
					err = errors.New("a second code was sent")
				}
				return "duplicate", err
			},
		},
		{
			Title: "a wrong code is declined",
			Run: func(ctx context.Context) (string, error) {
				verdict, err := verify(ctx, "000000x")
				return fmt.Sprintf("declined: %s", verdict.Verdict), demo.WantOutcome(err, tasks.Declined)
			},
		},
		{
			Title: "the code from the mail is verified",
			Run: func(ctx context.Context) (string, error) {
				verdict, err := verify(ctx, vendor.Code(sent.IDRequest))
				return fmt.Sprintf("done: %s", verdict.Verdict), err
			},
		},
	}
}

func commands(sandboxURL string) []demo.Command {
	return []demo.Command{
		{
			Purpose: "send a passcode",
			Line: fmt.Sprintf(
				"go run ./cmd/enqueue danaconnect:otp:send --set idConversation=%d"+
					" --set values.COD1_EMAIL=you@example.com --set type=1 --set length=6 --wait 10s --json",
				danaconnecttest.Conversation,
			),
		},
		{
			Purpose: `read the passcode that was "mailed"; the line above prints ID_REQUEST`,
			Line:    "curl -s " + sandboxURL + "_sandbox/otps/ID_REQUEST",
		},
		{
			Purpose: "verify it",
			Line:    "go run ./cmd/enqueue danaconnect:otp:verify --set idRequest=ID_REQUEST --set otp=CODE --wait 10s",
		},
		{
			Purpose: "drop the answer to the next send; that task ends unknown and is not repeated",
			Line: "curl -s -X POST " + sandboxURL + "_sandbox/faults" +
				` -d '{"op":"send","drop":true,"afterEffect":true,"times":1}'`,
		},
	}
}

// prepareExample stores the passcode that the example of danaconnect:otp:verify
// checks.
func prepareExample(v sandbox.Vendor) {
	v.(*danaconnecttest.Sandbox).Add(danaconnecttest.OTP{
		IDRequest:    251,
		Code:         "004217",
		MaximumTries: 5,
		ExpiresAt:    time.Now().Add(time.Hour),
	})
}
