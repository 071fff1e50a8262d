package rabbitbus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	errWantsTLS = errors.New("the port speaks TLS: use amqps://")
	errNoTLS    = errors.New("the port does not speak TLS: use amqp://")
	errExpired  = errors.New("our certificate has expired")
)

// dial makes one connection to one node, within ConnectTimeout and ctx.
func (c *Client) dial(ctx context.Context, raw string) (*link, error) {
	uri, err := amqp.ParseURI(raw)
	if err != nil {
		return nil, &ConnectError{Addr: redacted(raw), Err: errNotURL} // Validate has seen it before
	}
	addr := fmt.Sprintf("%s:%d", uri.Host, uri.Port)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()

	config := amqp.Config{Heartbeat: c.cfg.Heartbeat.Truncate(time.Second), Locale: "en_US", Properties: c.properties()}
	if c.cfg.TLS != nil {
		config.TLSClientConfig = c.cfg.TLS.Clone()
		if config.TLSClientConfig.ServerName == "" {
			config.TLSClientConfig.ServerName = cmp.Or(uri.ServerName, uri.Host)
		}
	}
	if c.cfg.Credentials != nil {
		user, password, err := c.cfg.Credentials(ctx)
		if err != nil {
			return nil, &ConnectError{Addr: addr, Err: fmt.Errorf("ask for credentials: %w", err)}
		}
		config.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
	}
	l := &link{addr: addr, changed: make(chan struct{}), done: make(chan struct{})}
	var unwatch func() bool
	config.Dial = func(network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		deadline, _ := ctx.Deadline() // the client clears it after the log-in
		if err := conn.SetDeadline(deadline); err != nil {
			_ = conn.Close() // the first error is the one to tell
			return nil, err
		}
		// The log-in knows no context: cut it when ours ends.
		unwatch = context.AfterFunc(ctx, func() { _ = conn.Close() })
		l.sock = &corked{Conn: conn}
		return l.sock, nil
	}
	conn, err := amqp.DialConfig(raw, config)
	if unwatch != nil && !unwatch() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		if l.sock != nil {
			_ = l.sock.Close() // the client leaves it open when TLS or its options fail
		}
		if uri.Scheme == "amqp" && l.sock != nil && l.sock.wantsTLS {
			err = fmt.Errorf("%w: %w", errWantsTLS, err)
		}
		if errors.As(err, new(tls.RecordHeaderError)) {
			err = fmt.Errorf("%w: %w", errNoTLS, err)
		}
		if expired(config.TLSClientConfig) {
			err = fmt.Errorf("%w: %w", errExpired, err)
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		var answer *amqp.Error
		if errors.As(err, &answer) && (answer.Code == amqp.AccessRefused || answer.Code == amqp.NotAllowed) {
			err = &RefusedError{Code: answer.Code, Err: err} // the client makes some of these up from a connection that is cut
		}
		return nil, &ConnectError{Addr: addr, Err: refused(err)}
	}
	l.conn = conn
	l.watch()
	return l, nil
}

// expired reports whether a certificate that is shown to the broker has expired.
// The broker says so, too, but it cuts the connection behind that, and what is
// seen can be the cut alone.
func expired(cfg *tls.Config) bool {
	if cfg == nil {
		return false
	}
	for _, c := range cfg.Certificates {
		leaf := c.Leaf // filled in by crypto/tls
		if leaf != nil && time.Now().After(leaf.NotAfter) {
			return true
		}
	}
	return false
}

// properties names the connection for the management pages.
func (c *Client) properties() amqp.Table {
	host, _ := os.Hostname() // empty when the machine has no name
	p := amqp.NewConnectionProperties()
	p.SetClientConnectionName(fmt.Sprintf("%s@%s:%d", c.cfg.Name, host, os.Getpid()))
	p["product"] = "leat"
	return p
}

func programName() string {
	if len(os.Args) == 0 {
		return "leat"
	}
	return filepath.Base(os.Args[0])
}
