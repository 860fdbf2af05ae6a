package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// checkTimeout exceeds the time that /readyz takes at most.
const checkTimeout = readyTimeout + time.Second

// CheckReady requests /readyz from the worker on this host whose HTTP_ADDR is
// httpAddr. An address that means all interfaces is reached over loopback. It
// returns nil if the worker is ready, and otherwise an error that says why not.
func CheckReady(ctx context.Context, httpAddr string) error {
	addrs, err := checkAddrs(ctx, httpAddr)
	if err != nil {
		return fmt.Errorf("HTTP_ADDR: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var first error
	for _, addr := range addrs {
		err := requestReady(ctx, addr)
		if _, unreached := errors.AsType[*net.OpError](err); !unreached {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return fmt.Errorf("no worker answers at HTTP_ADDR %s; start one, or give its settings: %w", httpAddr, first)
}

// checkAddrs returns the addresses at which a server on httpAddr can be reached
// from this host, the likeliest first.
func checkAddrs(ctx context.Context, httpAddr string) ([]string, error) {
	if httpAddr == "" {
		return nil, errors.New("is empty, so there is no admin HTTP to check")
	}
	host, service, err := net.SplitHostPort(httpAddr)
	if err != nil {
		return nil, errors.New("must be host:port")
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil || port == 0 {
		return nil, errors.New("names no usable port")
	}
	hosts := []string{host}
	switch ip, err := netip.ParseAddr(host); {
	case host == "", err == nil && ip == netip.IPv6Unspecified():
		hosts = []string{"127.0.0.1", "::1"} // usually both work
	case err == nil && ip.Unmap() == netip.IPv4Unspecified():
		hosts = []string{"127.0.0.1"}
	}
	addrs := make([]string, 0, len(hosts))
	for _, h := range hosts {
		addrs = append(addrs, net.JoinHostPort(h, strconv.Itoa(port)))
	}
	return addrs, nil
}

func requestReady(ctx context.Context, addr string) error {
	u := url.URL{
		Scheme: "http",
		Host:   addr,
		Path:   "/readyz",
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	// A zero Proxy ignores the environment: the request stays on this host.
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	resp, err := client.Do(r)
	if err != nil {
		if urlErr, ok := errors.AsType[*url.Error](err); ok {
			err = urlErr.Err
		}
		return fmt.Errorf("request /readyz: %w", err)
	}
	defer func() {
		_ = resp.Body.Close()
	}()
	var answer readiness
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("read /readyz: %w", err)
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s is not a worker: /readyz has status %d and another body", addr, resp.StatusCode)
	}
	switch {
	case resp.StatusCode == http.StatusOK && answer.Ready:
		return nil
	case answer.Reason != "":
		return fmt.Errorf("not ready: %s", answer.Reason)
	default:
		return fmt.Errorf("not ready: status %d", resp.StatusCode)
	}
}
