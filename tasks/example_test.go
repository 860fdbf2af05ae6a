package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// A person logs in: send a code, wait until the vendor has taken it.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	client, err := tasks.Open(redisURL) // once per process
	if err != nil {
		panic(err)
	}
	defer client.Close()

	ticket, err := tasks.Enqueue(ctx, client, danaconnect.OTPSend{
		IDConversation: 824541,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}},
		OTPType:        1,
		Length:         6,
	}, tasks.Key("login-4711")) // a second call for the same login sends no second code
	if err != nil {
		panic(err) // the task is not in the queue
	}
	sent, err := ticket.Wait(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("verify with idRequest", sent.IDRequest != "")
	// Output: verify with idRequest true
}

// What the outcome of a verification means for the person who waits.
func ExampleOutcomeError() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := tasks.Open(redisURL)
	if err != nil {
		panic(err)
	}
	defer client.Close()

	verify := func(id tasks.ID, typed string) string {
		ticket, err := tasks.Enqueue(ctx, client, danaconnect.OTPVerify{IDRequest: id, OTP: typed})
		if err != nil {
			return "try again later" // nothing was done
		}
		verdict, err := ticket.Wait(ctx)
		outcome, ended := errors.AsType[*tasks.OutcomeError](err)
		switch {
		case err == nil:
			return "welcome"
		case ended && outcome.Outcome == tasks.Declined:
			return string(verdict.Verdict) // incorrect, expired, used or locked
		default:
			return "ask for a new code" // unknown, failed, or no answer in time
		}
	}

	ticket, err := tasks.Enqueue(ctx, client, danaconnect.OTPSend{
		IDConversation: 824541,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "ben@example.com"}},
		OTPType:        1,
		Length:         6,
	})
	if err != nil {
		panic(err)
	}
	sent, err := ticket.Wait(ctx)
	if err != nil {
		panic(err)
	}
	id := tasks.ID(sent.IDRequest)
	fmt.Println(verify(id, "wrong"))
	fmt.Println(verify(id, mailbox(sent.IDRequest)))
	// Output:
	// incorrect
	// welcome
}

// A payload that breaks a rule never reaches the queue; the error names every
// field at fault.
func ExamplePayloadError() {
	client, err := tasks.Open(redisURL)
	if err != nil {
		panic(err)
	}
	defer client.Close()
	_, err = tasks.Enqueue(context.Background(), client, danaconnect.OTPSend{OTPType: 3, Length: 2})
	fmt.Println(err)
	// Output: idConversation is required; values is required; type must be at most 2; length must be at least 3
}
