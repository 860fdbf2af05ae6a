package taskstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/taskstest"
)

// sendCode is the code under test: an application's own.
func sendCode(ctx context.Context, queue tasks.Enqueuer, login, mail string) (idRequest string, err error) {
	ticket, err := tasks.Enqueue(ctx, queue, danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: mail}},
		OTPType:        1,
		Length:         6,
	}, tasks.Key(login))
	if err != nil {
		return "", err
	}
	sent, err := ticket.Wait(ctx)
	return sent.IDRequest, err
}

// What was enqueued, and with which key.
func ExampleClient_Enqueued() {
	client := taskstest.New()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := sendCode(ctx, client, "login-4711", "ana@example.com")
	fmt.Println(err) // nobody has ended the task
	for _, t := range client.Enqueued() {
		fmt.Println(t.Type, t.Key)
	}
	// Output:
	// context deadline exceeded
	// danaconnect:otp:send login-4711
}

// The payloads of one type.
func ExamplePayloads() {
	client := taskstest.New()
	for _, id := range []tasks.ID{"251", "252"} {
		_, err := tasks.Enqueue(context.Background(), client, danaconnect.OTPVerify{IDRequest: id, OTP: "004217"})
		if err != nil {
			panic(err)
		}
	}
	for _, p := range taskstest.Payloads[danaconnect.OTPVerify](client) {
		fmt.Println(p.IDRequest)
	}
	// Output:
	// 251
	// 252
}

// A task ends as the test says.
func ExampleClient_End() {
	client := taskstest.New()
	ctx := context.Background()
	ticket, err := tasks.Enqueue(ctx, client, danaconnect.OTPVerify{IDRequest: "251", OTP: "004217"})
	if err != nil {
		panic(err)
	}
	err = client.End(ticket.ID, taskstest.Ending{
		Outcome: tasks.Declined,
		Result:  danaconnect.OTPVerdict{Verdict: "expired"},
	})
	if err != nil {
		panic(err)
	}
	verdict, err := ticket.Wait(ctx)
	outcome, _ := errors.AsType[*tasks.OutcomeError](err)
	fmt.Println(outcome.Outcome, verdict.Verdict)
	// Output: declined expired
}

// Code that waits for the outcome needs an end at once.
func ExampleClient_OnEnqueue() {
	client := taskstest.New()
	client.OnEnqueue(func(t taskstest.Task) {
		if err := client.End(t.ID, taskstest.Ending{Result: danaconnect.OTPSent{IDRequest: "251"}}); err != nil {
			panic(err)
		}
	})
	fmt.Println(sendCode(context.Background(), client, "login-4711", "ana@example.com"))
	// Output: 251 <nil>
}

// The vendor's own code makes the call, and the vendor's sandbox answers.
func ExampleClient_Run() {
	vendor := danaconnecttest.New(danaconnecttest.Options{})
	web := httptest.NewServer(sandbox.Vendors{vendor}.Handler())
	defer web.Close()
	client := taskstest.New()
	if err := client.Connect(danaconnect.Vendor, vendor.Environ(web.URL)); err != nil {
		panic(err)
	}
	client.OnEnqueue(func(t taskstest.Task) {
		if _, err := client.Run(context.Background(), t.ID); err != nil {
			panic(err)
		}
	})
	idRequest, err := sendCode(context.Background(), client, "login-4711", "ana@example.com")
	fmt.Println(len(vendor.Code(idRequest)), err)
	// Output: 6 <nil>
}

// refusing is a client whose queue is full.
type refusing struct{ tasks.Enqueuer }

func (refusing) EnqueuePayload(
	context.Context,
	tasks.Payload,
	...tasks.Option,
) (*tasks.Ticket[json.RawMessage], error) {
	return nil, &tasks.FullError{Queue: "otp", Waiting: 10_000, Limit: 10_000}
}

// Errors of enqueueing come from a client of the test's own.
func Example_fault() {
	_, err := sendCode(context.Background(), refusing{taskstest.New()}, "login-4711", "ana@example.com")
	_, full := errors.AsType[*tasks.FullError](err)
	fmt.Println(full)
	// Output: true
}
