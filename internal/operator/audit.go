package operator

import (
	"context"
	"time"

	"errand.internal/internal/record"
)

// EachAction calls do for each line of the operators' log since the given time, the
// oldest first, until do returns an error.
func (o *Operator) EachAction(ctx context.Context, since time.Time, do func(record.Action) error) error {
	return o.store.EachAction(ctx, since, do)
}
