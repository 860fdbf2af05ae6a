package events

import "errand.internal/internal/redisscript"

// Change is what ParseChanges reads of a change.
type Change struct {
	ID                              string
	Sequence, Previous, Current, At int64
}

// ParseChanges is parseChanges.
func ParseChanges(hash []any) ([]Change, error) {
	changes, err := parseChanges(redisscript.Reply(hash))
	var found []Change
	for _, c := range changes {
		found = append(found, Change{
			ID:       c.id,
			Sequence: c.sequence,
			Previous: c.previous,
			Current:  c.current,
			At:       c.at,
		})
	}
	return found, err
}
