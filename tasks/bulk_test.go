package tasks_test

import (
	"errors"
	"fmt"
	"testing"

	"errand.internal/internal/apptest"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

func TestEnqueueAll(t *testing.T) {
	t.Parallel()
	c := apptest.New(t).Client(t)
	list := make([]danaconnect.OTPVerify, 500)
	for i := range list {
		list[i] = danaconnect.OTPVerify{IDRequest: tasks.ID(fmt.Sprint(i)), OTP: "004217"}
	}
	list[7].OTP = ""
	keys := func(i int) []tasks.Option { return []tasks.Option{tasks.Key("login/" + string(list[i].IDRequest))} }
	tickets, err := tasks.EnqueueAll(t.Context(), c, list, keys)
	if one, ok := errors.AsType[*tasks.BulkError](err); !ok || one.Index != 7 || tickets[7] != nil {
		t.Errorf("err = %v", err)
	}
	if _, ok := errors.AsType[*tasks.PayloadError](err); !ok {
		t.Errorf("the cause is lost: %v", err)
	}
	list[7].OTP = "004217"
	again, err := tasks.EnqueueAll(t.Context(), c, list, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, ticket := range again {
		if ticket.Duplicate == (i == 7) || (i != 7 && ticket.ID != tickets[i].ID) {
			t.Errorf("task %d: %+v", i, ticket)
		}
	}
}
