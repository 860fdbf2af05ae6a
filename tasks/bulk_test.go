package tasks_test

import (
	"errors"
	"fmt"
	"testing"

	"errand.internal/internal/redistest"
	"errand.internal/tasks"
)

func TestEnqueueAll(t *testing.T) {
	t.Parallel()
	c := open(t, redistest.New(t).URL())
	list := make([]tasks.UserInactivate, 500)
	for i := range list {
		list[i].UserID = fmt.Sprint("u-", i)
	}
	list[7].UserID = ""
	keys := func(i int) []tasks.Option { return []tasks.Option{tasks.Key("leaver/" + list[i].UserID)} }
	tickets, err := tasks.EnqueueAll(t.Context(), c, list, keys)
	if one, ok := errors.AsType[*tasks.BulkError](err); !ok || one.Index != 7 || tickets[7] != nil {
		t.Errorf("err = %v", err)
	}
	if _, ok := errors.AsType[*tasks.PayloadError](err); !ok {
		t.Errorf("the cause is lost: %v", err)
	}
	list[7].UserID = "u-7"
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
