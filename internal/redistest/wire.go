package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// wire is a minimal RESP connection for waitReady. go-redis would log every
// refused connection.
type wire struct {
	c net.Conn
	r *bufio.Reader
}

func newWire(c net.Conn) wire {
	return wire{c, bufio.NewReader(c)}
}

// command sends a command and returns its simple or bulk reply.
func (w wire) command(args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(w.c, b.String()); err != nil {
		return "", err
	}
	line, err := w.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("empty reply")
	}
	switch line[0] {
	case '+':
		return line[1:], nil
	case '-':
		return "", errors.New(line[1:])
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 {
			return "", fmt.Errorf("no text in reply %q", line)
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(w.r, text); err != nil {
			return "", err
		}
		return string(text[:size]), nil
	default:
		return "", fmt.Errorf("unexpected reply %q", line)
	}
}
