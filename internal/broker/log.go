package broker

import (
	"fmt"
	"strings"

	"github.com/rs/zerolog"
)

// asynqLogger leads asynq's own lines into ours.
type asynqLogger struct{ log zerolog.Logger }

func (l asynqLogger) Debug(args ...any) { l.log.Debug().Msg(fmt.Sprint(args...)) }

// Info is asynq's start and stop chatter, eight lines a server: debug here.
func (l asynqLogger) Info(args ...any) { l.log.Debug().Msg(fmt.Sprint(args...)) }

func (l asynqLogger) Warn(args ...any) {
	text := fmt.Sprint(args...)
	if strings.HasPrefix(text, "Retry exhausted") {
		// Said of every archived task; our own line on the attempt says it better.
		l.log.Debug().Msg(text)
		return
	}
	l.log.Warn().Msg(text)
}

func (l asynqLogger) Error(args ...any) { l.log.Error().Msg(fmt.Sprint(args...)) }

// Fatal must not end the process: asynq calls it only from its own Run, which
// is not used here.
func (l asynqLogger) Fatal(args ...any) { l.log.Error().Msg(fmt.Sprint(args...)) }
