package redisconn

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

const (
	logBurst  = 5
	logPeriod = 10 * time.Second
)

// LogTo sends go-redis's own log lines to log, as warnings, for the whole
// process; by default go-redis writes them to stderr. While Redis is down it
// logs a line for every connection, so only 5 lines in 10 s are kept; the calls
// that fail report their errors anyway. zerolog.Nop() silences it.
func LogTo(log zerolog.Logger) {
	logChosen.Do(func() {})
	sampler := &zerolog.BurstSampler{Burst: logBurst, Period: logPeriod}
	redis.SetLogger(redisLog{log.Sample(sampler)})
}

// logChosen is done once somebody has said where go-redis's own log lines go.
var logChosen sync.Once

// LogNothingByDefault is LogTo(zerolog.Nop()) unless LogTo was called before.
func LogNothingByDefault() {
	logChosen.Do(func() {
		redis.SetLogger(redisLog{zerolog.Nop()})
	})
}

type redisLog struct{ log zerolog.Logger }

// Printf implements the logger of go-redis.
func (l redisLog) Printf(_ context.Context, format string, args ...any) {
	l.log.Warn().Str("component", "go-redis").Msg(fmt.Sprintf(format, args...))
}
