package tasks_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// maxConnections is how many connections a client may have: those of its pool, and one
// subscription for all waits.
const maxConnections = 32 + 1

// However many tickets a process waits for, it needs few connections.
func TestAThousandWaitsShareConnections(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	client, err := tasks.Open(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	const n = 1000
	list := make([]danaconnect.OTPVerify, n)
	for i := range list {
		list[i] = danaconnect.OTPVerify{IDRequest: tasks.ID(fmt.Sprint(i + 1)), OTP: "004217"}
	}
	tickets, err := tasks.EnqueueAll(t.Context(), client, list, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ends := make(chan error, n)
	for _, ticket := range tickets {
		go func() {
			_, err := ticket.Wait(ctx)
			ends <- err
		}()
	}
	rdb := server.Client()
	testwait.Eventually(t, 30*time.Second, "all waits have subscribed", func() bool {
		return len(rdb.PubSubChannels(t.Context(), "errand:done:*").Val()) == n
	})
	most := producerConnections(t, rdb)
	endAll(t, server, n)
	for range n {
		if err := <-ends; err != nil {
			t.Fatal(err)
		}
	}
	most = max(most, producerConnections(t, rdb))
	if most < 2 || most > maxConnections {
		t.Errorf("%d connections, want at most %d", most, maxConnections)
	}
}

// producerConnections counts the connections of clients that Open has opened.
func producerConnections(t *testing.T, rdb *redis.Client) int {
	t.Helper()
	text, err := rdb.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(text, "name=errand-producer ")
}

// endAll ends n tasks as a worker does.
func endAll(t *testing.T, server *redistest.Server, n int) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	worker, err := broker.NewServer(broker.Config{
		Redis:   rdb,
		General: rdb,
		Queues:  map[string]int{"otp": 10},
		Owner:   "w1",
		Hold:    time.Minute,
		Log:     zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for n > 0 {
		claims, err := worker.Take(t.Context(), "otp", 10)
		if err != nil || len(claims) == 0 {
			t.Fatalf("%d tasks are left: %v", n, err)
		}
		for _, claim := range claims {
			if err := claim.End(broker.Result{Outcome: tasks.Done}); err != nil {
				t.Fatal(err)
			}
			n--
		}
	}
}
