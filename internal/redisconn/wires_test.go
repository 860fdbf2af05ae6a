package redisconn_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
)

// A command that waits for an answer ends when its client is cut, and every
// later one fails; a client next to it does not notice.
func TestCut(t *testing.T) {
	t.Parallel()
	single, cluster := redistest.New(t), redistest.NewCluster(t, 3)
	for _, tc := range []struct {
		name  string
		url   string
		nodes []*redistest.Server
	}{
		{name: "one Redis", url: single.URL(), nodes: []*redistest.Server{single}},
		{name: "cluster", url: cluster.URL(), nodes: cluster.Nodes()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			target, err := redisconn.Parse(tc.url)
			if err != nil {
				t.Fatal(err)
			}
			client, cut := target.OpenWatched(redisconn.Servers, nil)
			defer func() { _ = client.Close() }()
			other := target.Open(redisconn.General)
			defer func() { _ = other.Close() }()
			waiting := make(chan error, 1)
			go func() { waiting <- client.BLPop(t.Context(), time.Hour, "nothing").Err() }()
			awaitBlocked(t, tc.nodes)
			cut()
			if err := <-waiting; err == nil {
				t.Error("the command that waited got an answer")
			}
			if err := client.Ping(t.Context()).Err(); err == nil {
				t.Error("a client that was cut talks to Redis")
			}
			if err := other.Ping(t.Context()).Err(); err != nil {
				t.Errorf("another client: %v", err)
			}
		})
	}
}

// awaitBlocked returns when one of the nodes has a client that waits.
func awaitBlocked(t *testing.T, nodes []*redistest.Server) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		for _, node := range nodes {
			if strings.Contains(node.Client().Info(t.Context(), "clients").Val(), "blocked_clients:1") {
				return
			}
		}
	}
	t.Fatal("no client waits")
}
