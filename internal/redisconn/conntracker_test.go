package redisconn_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
)

// When a client's connections are closed, the command that waits for an answer
// and all later ones fail; another client is not affected.
func TestClosedConnections(t *testing.T) {
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
			client, closeConns := target.OpenTracked(redisconn.Servers, nil)
			defer func() { _ = client.Close() }()
			other := target.Open(redisconn.General)
			defer func() { _ = other.Close() }()
			waiting := make(chan error, 1)
			go func() { waiting <- client.BLPop(t.Context(), time.Hour, "nothing").Err() }()
			awaitBlocked(t, tc.nodes)
			closeConns()
			if err := <-waiting; err == nil {
				t.Error("the command that waited got an answer")
			}
			if err := client.Ping(t.Context()).Err(); err == nil {
				t.Error("a command succeeded after the connections were closed")
			}
			if err := other.Ping(t.Context()).Err(); err != nil {
				t.Errorf("another client: %v", err)
			}
		})
	}
}

// awaitBlocked returns when one of the nodes has a blocked client.
func awaitBlocked(t *testing.T, nodes []*redistest.Server) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		for _, node := range nodes {
			if strings.Contains(node.Client().Info(t.Context(), "clients").Val(), "blocked_clients:1") {
				return
			}
		}
	}
	t.Fatal("no client is blocked")
}
