package brokers

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
)

// dial opens a connection for one question and answer; its deadline is that
// of ctx. A nil trust is a plain connection.
func dial(ctx context.Context, addr string, trust *tls.Config) (net.Conn, error) {
	var (
		conn net.Conn
		err  error
	)
	if trust == nil {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = (&tls.Dialer{Config: trust}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("brokers: connect to %s: %w", addr, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // fails on a closed connection only; reading tells
	}

	return conn, nil
}

// parseURL is url.Parse without the text in the error: it may hold a password.
func parseURL(variable, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("brokers: read %s: not a URL of the form scheme://host:port/", variable)
	}

	return u, nil
}
