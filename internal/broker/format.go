package broker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

const (
	// Format is the version of the layout of the records (internal/record). It rises
	// with a change that an older release would misread.
	Format = "4"

	formatKey = "errand:format"
)

// FormatError says that Redis has the records of a release that writes them otherwise.
type FormatError struct{ Found string }

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf(
		"Redis holds records of format %q and this release of Errand writes format %q: "+
			"use the release that wrote them, or another Redis database",
		e.Found, Format,
	)
}

// CheckFormat returns a *FormatError if the records in Redis have another format than
// this release writes. Where nothing says which they have, it says so from now on.
func CheckFormat(ctx context.Context, rdb redis.UniversalClient) error {
	found, err := rdb.Get(ctx, formatKey).Result()
	if errors.Is(err, redis.Nil) {
		if err = rdb.SetNX(ctx, formatKey, Format, 0).Err(); err == nil { // another release may be faster
			found, err = rdb.Get(ctx, formatKey).Result()
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("read the format of the records: %w", err)
	case found != Format:
		return &FormatError{Found: found}
	}
	return nil
}

// formatGate lets nobody pass until the format in Redis is known to be ours.
type formatGate struct{ open atomic.Bool }

func (g *formatGate) pass(ctx context.Context, rdb redis.UniversalClient) error {
	if g.open.Load() {
		return nil
	}
	if err := CheckFormat(ctx, rdb); err != nil {
		return err
	}
	g.open.Store(true)
	return nil
}
