package bench

import (
	"context"
	"strconv"
	"testing"
	"time"
)

// contest is a row: one figure of both systems.
type contest struct {
	name          string
	errand, plain func(b *testing.B) figures
}

// BenchmarkContests measures each row that plain asynq has, too.
func BenchmarkContests(b *testing.B) {
	for _, c := range contests() {
		b.Run(c.name, func(b *testing.B) {
			compare(b, func() figures { return c.errand(b) }, func() figures { return c.plain(b) })
		})
	}
}

func contests() []contest {
	var all []contest
	add := func(name string, measure func(b *testing.B, s system) figures) {
		all = append(all, contest{
			name:   name,
			errand: func(b *testing.B) figures { return measure(b, errand) },
			plain:  func(b *testing.B) figures { return measure(b, plain) },
		})
	}
	for _, c := range []int{10, 50, 200} {
		for _, others := range []int{0, c} {
			name := "process/alone/c="
			if others > 0 {
				name = "process/all-queues/c="
			}
			add(name+strconv.Itoa(c), func(b *testing.B, s system) figures {
				return process(b, s, load{concurrency: c, others: others}, func(context.Context) {})
			})
		}
	}
	for _, g := range []int{1, 8, 32} {
		add("enqueue/g="+strconv.Itoa(g), func(b *testing.B, s system) figures {
			return enqueue(b, s, g)
		})
	}
	for _, answerAfter := range []time.Duration{0, 20 * time.Millisecond} {
		name := "post/" + answerAfter.String()
		add(name+"/bare", func(b *testing.B, s system) figures {
			return process(b, s, load{concurrency: 200}, poster(b, answerAfter))
		})
		all = append(all, contest{
			name:   name + "/vendor",
			errand: func(b *testing.B) figures { return call(b, answerAfter) },
			plain: func(b *testing.B) figures {
				return process(b, plain, load{concurrency: 200}, poster(b, answerAfter))
			},
		})
	}
	return append(all, contest{
		name:   "bulk",
		errand: bulk,
		plain:  func(b *testing.B) figures { return enqueue(b, plain, 8) },
	}, contest{
		name:   "keep/queued",
		errand: func(b *testing.B) figures { return keep(b, errandKeyed, false) },
		plain:  func(b *testing.B) figures { return keep(b, plain, false) },
	}, contest{
		name:   "keep/ended",
		errand: func(b *testing.B) figures { return keep(b, errandKeyed, true) },
		plain:  func(b *testing.B) figures { return keep(b, retained, true) },
	})
}
