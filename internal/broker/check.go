package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

var checkStep = step("check")

// Check compares the record of every task of a queue with asynq's lists, and returns
// each disagreement in words. Traffic may go on: each task is looked at in one moment,
// and each step changes both in one moment.
func Check(ctx context.Context, rdb redis.UniversalClient, queue string) ([]string, error) {
	ids, err := taskIDs(ctx, rdb, queue)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		reply, err := run(ctx, rdb, checkStep, queue, newArguments("id", id))
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", id, err)
		}
		for i := range reply {
			if text := reply.Text(i); text != "ok" {
				found = append(found, id+": "+text)
			}
		}
	}
	return found, nil
}

// taskIDs are the tasks of a queue that have a record, asynq's hash, or a place in one
// of asynq's lists.
func taskIDs(ctx context.Context, rdb redis.UniversalClient, queue string) (map[string]bool, error) {
	ids := map[string]bool{}
	for _, prefix := range []string{record.Key(queue, ""), asynqPrefix(queue) + "t:"} {
		err := scan(ctx, rdb, prefix, func(key string) {
			ids[strings.TrimPrefix(key, prefix)] = true
		})
		if err != nil {
			return nil, err
		}
	}
	for _, list := range []string{"pending", "active"} {
		found, err := rdb.LRange(ctx, asynqPrefix(queue)+list, 0, -1).Result()
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			ids[id] = true
		}
	}
	for _, set := range []string{"scheduled", "retry", "archived", "completed"} {
		found, err := rdb.ZRange(ctx, asynqPrefix(queue)+set, 0, -1).Result()
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			ids[id] = true
		}
	}
	return ids, nil
}

// scan calls do for each key with a prefix, in a cluster on every node.
func scan(ctx context.Context, rdb redis.UniversalClient, prefix string, do func(key string)) error {
	node := func(ctx context.Context, c redis.Cmdable) error {
		keys := c.Scan(ctx, 0, prefix+"*", 1000).Iterator()
		for keys.Next(ctx) {
			do(keys.Val())
		}
		return keys.Err()
	}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return node(ctx, c) })
	}
	return node(ctx, rdb)
}
