package webtest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"
)

// Port is a port of this host that refuses connections until the test listens at it. The
// port of a listener that was closed is no such port: whoever listens next may be given it.
type Port struct {
	Addr string // host:port

	socket int // bound; -1 once it listens
}

// Reserve reserves a port until the test ends.
func Reserve(t testing.TB) *Port {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &Port{socket: socket}
	t.Cleanup(func() {
		if p.socket >= 0 {
			_ = syscall.Close(p.socket)
		}
	})
	syscall.CloseOnExec(socket)
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	p.Addr = fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	return p
}

// Serve serves h at the port from now on, until the test ends.
func (p *Port) Serve(t testing.TB, h http.Handler) {
	t.Helper()
	l := p.listen(t)
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended: %v", err)
		}
	}()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (p *Port) listen(t testing.TB) net.Listener {
	t.Helper()
	if err := syscall.Listen(p.socket, 128); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(p.socket), "port")
	p.socket = -1
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close() // the listener has its own descriptor
	return l
}
