package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	readyTimeout = 20 * time.Second // a machine that runs many tests at once is slow
	portAttempts = 20
)

// errPortTaken is the one reason to try again elsewhere.
var errPortTaken = errors.New("the port is taken")

var errMissing = errors.New(
	"redis-server is not installed; these tests need a real one. " +
		"`make test` installs it; by hand: Debian and Ubuntu `apt-get install redis-server`, macOS `brew install redis`",
)

// launch starts the process on a port of its choice.
func (s *Server) launch() error {
	var err error
	for range portAttempts {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if s.conf.cluster {
			if s.busPort, err = freePort(); err != nil {
				return err
			}
		}
		if err = s.start(); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return fmt.Errorf("no free port in %d attempts: %w", portAttempts, err)
}

// start starts the process on s.port and waits until it answers.
func (s *Server) start() error {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return errMissing
	}
	file := filepath.Join(s.dir, "redis.conf")
	// A sentinel writes what it has learnt into its file, and needs it when it
	// starts again.
	if _, err := os.Stat(file); err != nil || !s.conf.sentinel {
		if err := os.WriteFile(file, []byte(s.conf.file(s.dir, s.port, s.busPort)), 0o600); err != nil {
			return err
		}
	}
	args := []string{file}
	if s.conf.sentinel {
		args = append(args, "--sentinel")
	}
	if s.proc, err = startProcess(binary, s.dir, args...); err != nil {
		return err
	}
	return s.waitReady()
}

// waitReady polls until the process itself answers PING: on a port that
// somebody else took a moment earlier, a stranger would answer.
func (s *Server) waitReady() error {
	deadline := time.Now().Add(readyTimeout)
	backoff := 2 * time.Millisecond
	var last error
	for time.Now().Before(deadline) {
		if last = s.answers(); last == nil {
			return nil
		}
		select {
		case <-s.proc.done:
			output := s.proc.output()
			if strings.Contains(output, "Address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("redis-server ended at once: %s", output)
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, 50*time.Millisecond)
	}
	return errors.Join(
		fmt.Errorf(
			"redis-server does not answer after %v (%w): %s",
			readyTimeout,
			last,
			s.proc.output(),
		),
		s.proc.kill(),
	)
}

func (s *Server) answers() error {
	c, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return err
	}
	defer func() {
		_ = c.Close()
	}()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	w := newWire(c)
	if s.conf.password != "" {
		if _, err := w.ask("AUTH", s.conf.password); err != nil {
			return err
		}
	}
	info, err := w.ask("INFO", "server")
	if err != nil {
		return err
	}
	if !strings.Contains(info, "\r\nprocess_id:"+strconv.Itoa(s.proc.pid())+"\r\n") {
		return errors.New("another server answers on the port")
	}
	_, err = w.ask("PING")
	return err
}

// freePort picks a port below the range from which the usual systems take the
// ports of outgoing connections: none of those can take it while the server is
// stopped.
func freePort() (int, error) {
	const low, high = 10000, 32768
	var last error
	for range 100 {
		port := low + rand.IntN(high-low)
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("find a free port: %w", last)
}
