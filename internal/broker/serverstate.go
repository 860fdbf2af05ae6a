package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"
)

// Every five seconds a server of asynq's tells what it is and what it runs, with a script
// of two keys: asynq:servers:{host:pid:id} and asynq:workers:{host:pid:id}. Behind them
// are how long that is true, a ServerInfo, and for each task its ID and a WorkerInfo.
const (
	toldServer  = stepArguments - 2 // where its key is
	toldWorkers = stepArguments - 1
	toldInfo    = stepArguments + 1

	serversPrefix = "asynq:servers:{"
	workersPrefix = "asynq:workers:{"
)

// The fields of asynq's ServerInfo and WorkerInfo.
const (
	serverQueues  protowire.Number = 5
	serverRunning protowire.Number = 9

	lastOfServer protowire.Number = 3 // host, PID and ID of the server come first in both

	workerTaskID   protowire.Number = 4
	workerTaskType protowire.Number = 5
	workerQueue    protowire.Number = 7
	workerStarted  protowire.Number = 8
	workerDeadline protowire.Number = 9
)

// told returns whose server tells what it runs; nil for another script.
func (h *serverHook) told(args []any) *dispatch {
	if len(args) <= toldInfo {
		return nil
	}
	server, _ := args[toldServer].(string)
	workers, _ := args[toldWorkers].(string)
	info, _ := args[toldInfo].([]byte)
	if !strings.HasPrefix(server, serversPrefix) || !strings.HasPrefix(workers, workersPrefix) {
		return nil
	}
	var d *dispatch
	message(info).fields(func(n protowire.Number, _ protowire.Type, value []byte) {
		if n == serverQueues {
			queue, _ := entry(content(value))
			d = h.queues[asynqPrefix(queue)]
		}
	})
	return d
}

// tell adds what the slots run to what asynq's server tells of itself, which knows of
// none.
func (d *dispatch) tell(ctx context.Context, asked *redis.Cmd, next redis.ProcessHook) error {
	running := d.server.running(d.queue)
	args := slices.Clone(asked.Args())
	info, _ := args[toldInfo].([]byte)
	info = protowire.AppendTag(slices.Clone(info), serverRunning, protowire.VarintType)
	args[toldInfo] = protowire.AppendVarint(info, uint64(len(running)))
	var server []byte
	message(info).fields(func(n protowire.Number, kind protowire.Type, value []byte) {
		if n <= lastOfServer {
			server = append(protowire.AppendTag(server, n, kind), value...)
		}
	})
	for _, c := range running {
		args = append(args, c.ID, workerInfo(server, c))
	}
	told := redis.NewCmd(ctx, args...)
	err := next(ctx, told)
	asked.SetVal(told.Val())
	asked.SetErr(err)
	return err
}

// workerInfo is asynq's WorkerInfo of a claim, without the payload. server is what it
// begins with.
func workerInfo(server []byte, c *Claim) []byte {
	raw := slices.Clone(server)
	text := func(n protowire.Number, value string) {
		raw = protowire.AppendString(protowire.AppendTag(raw, n, protowire.BytesType), value)
	}
	timestamp := func(n protowire.Number, at time.Time) {
		var stamp []byte
		stamp = protowire.AppendVarint(protowire.AppendTag(stamp, 1, protowire.VarintType), uint64(at.Unix()))
		stamp = protowire.AppendVarint(protowire.AppendTag(stamp, 2, protowire.VarintType), uint64(at.Nanosecond()))
		raw = protowire.AppendBytes(protowire.AppendTag(raw, n, protowire.BytesType), stamp)
	}
	text(workerTaskID, c.ID)
	text(workerTaskType, c.Type)
	text(workerQueue, c.Queue)
	timestamp(workerStarted, c.sentAt)
	timestamp(workerDeadline, c.sentAt.Add(c.server.hold))
	return raw
}
