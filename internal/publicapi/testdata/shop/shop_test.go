package shop

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/taskstest"
)

func TestSendCode(t *testing.T) {
	client := taskstest.New()
	client.OnEnqueue(func(task taskstest.Task) {
		if err := client.End(task.ID, taskstest.Ending{Result: danaconnect.OTPSent{IDRequest: "251"}}); err != nil {
			t.Error(err)
		}
	})
	shop := Shop{Queue: client}
	for range 2 { // the second call for the same login sends no second code
		if id, err := shop.SendCode(t.Context(), "login-1", "ana@example.com"); err != nil || id != "251" {
			t.Errorf("SendCode = %s, %v", id, err)
		}
	}
	list := client.Enqueued()
	if len(list) != 1 || list[0].Key != "login-1" {
		t.Errorf("enqueued %+v", list)
	}
	if sends := taskstest.Payloads[danaconnect.OTPSend](client); sends[0].Values[0].Value != "ana@example.com" {
		t.Errorf("sent to %+v", sends)
	}
}

func TestSendCodeMayFail(t *testing.T) {
	client := taskstest.New()
	client.OnEnqueue(func(task taskstest.Task) {
		if err := client.End(task.ID, taskstest.Ending{Outcome: tasks.Unknown}); err != nil {
			t.Error(err)
		}
	})
	shop := Shop{Queue: client}
	if _, err := shop.SendCode(t.Context(), "login-1", "ana@example.com"); !errors.Is(err, ErrTryLater) {
		t.Errorf("an unknown outcome: %v", err)
	}
	err := shop.Verify(t.Context(), "251", "")
	if problems := Problems(err); len(problems) != 1 || problems[0].Field != "otp" {
		t.Errorf("no code: %v", err)
	}
}

func TestLoginAgainstTheSandbox(t *testing.T) {
	vendor := danaconnecttest.New(danaconnecttest.Options{})
	web := httptest.NewServer(sandbox.Vendors{vendor}.Handler())
	defer web.Close()
	client := taskstest.New()
	if err := client.Connect(danaconnect.Vendor, vendor.Environ(web.URL)); err != nil {
		t.Fatal(err)
	}
	client.OnEnqueue(func(task taskstest.Task) {
		if _, err := client.Run(context.Background(), task.ID); err != nil {
			t.Error(err)
		}
	})
	shop := Shop{Queue: client}
	id, err := shop.SendCode(t.Context(), "login-1", "ana@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := shop.Verify(t.Context(), id, "000000000000"); !errors.Is(err, ErrWrongCode) {
		t.Errorf("a wrong code: %v", err)
	}
	if err := shop.Verify(t.Context(), id, vendor.Code(string(id))); err != nil {
		t.Errorf("the right code: %v", err)
	}
}

func TestLeave(t *testing.T) {
	client := taskstest.New()
	shop := Shop{Queue: client}
	if _, err := shop.Leave(t.Context(), []string{"u-1", "u-2", "u-1"}); err != nil {
		t.Fatal(err)
	}
	if list := taskstest.Payloads[anna.UserInactivate](client); len(list) != 2 {
		t.Errorf("enqueued %+v", list)
	}
}
