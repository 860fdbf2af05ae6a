package clients

import (
	"context"
	"time"
)

// FirstAttempt returns when the task of ctx was first attempted, the zero time if that
// is not known. Nothing that the task did is older.
func FirstAttempt(ctx context.Context) time.Time {
	if a := attemptFrom(ctx); a != nil {
		return a.First
	}
	return time.Time{}
}

// Place returns where an earlier lookup of the same task stopped, "" at the start. Only
// the client that gave it to KeepPlace can read it.
func Place(ctx context.Context) string {
	if a := attemptFrom(ctx); a != nil {
		return a.Place()
	}
	return ""
}

// KeepPlace has the next lookup of the task of ctx go on at a place, should this one not
// come to its end. "" means from the start.
func KeepPlace(ctx context.Context, place string) {
	if a := attemptFrom(ctx); a != nil {
		a.SetPlace(place)
	}
}

// Place returns what a lookup under the attempt has kept last, or what SetPlace set. It
// may be called while the lookup hangs.
func (a *Attempt) Place() string {
	place, _ := a.place.Load().(string)
	return place
}

// SetPlace sets the place at which a lookup under the attempt begins.
func (a *Attempt) SetPlace(place string) {
	a.place.Store(place)
}
