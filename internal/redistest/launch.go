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

	"errand.internal/internal/proctest"
)

const (
	readyTimeout = 20 * time.Second // long, because the machine may run many tests at once
	stopTimeout  = 15 * time.Second
	portAttempts = 20
)

// errPortTaken makes launch try another port.
var errPortTaken = errors.New("the port is taken")

var errMissing = errors.New(
	"redis-server is not installed; these tests need a real one. " +
		"`make test` installs it; by hand: Debian and Ubuntu `apt-get install redis-server`, macOS `brew install redis`",
)

// launch starts the process on a free port.
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
		file := []byte(s.conf.file(s.dir, s.port, s.busPort))
		if err := os.WriteFile(s.configFile(), file, 0o600); err != nil {
			return err
		}
		if err = s.start(); !errors.Is(err, errPortTaken) {
			return err
		}
		if err := os.Remove(s.logFile()); err != nil { // it says so once for each port
			return err
		}
	}
	return fmt.Errorf("no free port in %d attempts: %w", portAttempts, err)
}

// configFile is the server's configuration. A sentinel stores its state in its own,
// and that of the nodes in theirs, so a restart keeps it.
func (s *Server) configFile() string {
	return filepath.Join(s.dir, "redis.conf")
}

// start starts the process on s.port and waits until it answers.
func (s *Server) start() error {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return errMissing
	}
	args := []string{s.configFile()}
	if s.conf.sentinel {
		args = append(args, "--sentinel")
	}
	if err := s.startProcess(binary, args...); err != nil {
		return err
	}
	return s.waitReady()
}

// startProcess starts redis-server with its output in the log file.
func (s *Server) startProcess(binary string, args ...string) error {
	// A restart continues the log: why a server was replaced is in the part before.
	out, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		_ = out.Close() // the child has its own descriptor
	}()
	cmd := exec.Command(binary, args...)
	cmd.Dir = s.dir
	cmd.Stdout = out
	cmd.Stderr = out
	if s.proc, err = proctest.Start(cmd); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	return nil
}

func (s *Server) logFile() string {
	return filepath.Join(s.dir, "redis.log")
}

// output returns the end of the server's log, for the message of a failed test.
func (s *Server) output() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	const limit = 8192
	return string(text[max(0, len(text)-limit):])
}

// terminate stops the process as an operator would.
func (s *Server) terminate() error {
	if !s.proc.Alive() {
		return errors.New("the server is not running")
	}
	if err := s.proc.Terminate(); err != nil {
		return err
	}
	// A paused process takes SIGTERM only once it is resumed.
	if err := s.proc.Resume(); err != nil && s.proc.Alive() {
		return err
	}
	if err := s.proc.WaitOrKill(stopTimeout); err != nil {
		return fmt.Errorf("%w: %s", err, s.output())
	}
	return nil
}

// waitReady polls until the process itself answers PING. Another server may answer
// on the same port if it took the port a moment earlier.
func (s *Server) waitReady() error {
	deadline := time.Now().Add(readyTimeout)
	backoff := 2 * time.Millisecond
	var last error
	for time.Now().Before(deadline) {
		if last = s.answers(); last == nil {
			return nil
		}
		select {
		case <-s.proc.Done():
			output := s.output()
			if strings.Contains(output, "Address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("redis-server exited during startup: %s", output)
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, 50*time.Millisecond)
	}
	return errors.Join(
		fmt.Errorf(
			"redis-server does not answer after %v (%w): %s",
			readyTimeout,
			last,
			s.output(),
		),
		s.proc.Kill(),
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
		if _, err := w.command("AUTH", s.conf.password); err != nil {
			return err
		}
	}
	info, err := w.command("INFO", "server")
	if err != nil {
		return err
	}
	if !strings.Contains(info, "\r\nprocess_id:"+strconv.Itoa(s.proc.PID())+"\r\n") {
		return errors.New("another server answers on the port")
	}
	_, err = w.command("PING")
	return err
}

// freePort picks a port below the range that operating systems usually take for
// outgoing connections, so that none of these takes it while the server is stopped.
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
