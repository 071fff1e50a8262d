package redisbus

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

const (
	// DefaultURL is the server of a configuration that names none.
	DefaultURL = "redis://localhost:6379"

	// DefaultConnectTimeout bounds TCP, TLS and log-in together. Shorter fails
	// while a busy server still answers; longer makes a dead one noticed late.
	DefaultConnectTimeout = 5 * time.Second

	// DefaultSocketTimeout bounds each write and each answer. It is the longest
	// that a Publish without a deadline waits for a server that hangs.
	DefaultSocketTimeout = 5 * time.Second
)

// ClientConfig configures [OpenClient]. Every formatted form of it, whatever
// the verb or the logger, shows the URL without user, password and query.
type ClientConfig struct {
	// URL names the server: redis://user:password@host:port/db, rediss:// for
	// TLS, or unix:///path/to.sock. Empty means [DefaultURL].
	URL string

	// TLS is used for rediss://, and with redis:// turns TLS on. A ServerName
	// that is empty becomes the URL's host. nil means the standard library's
	// defaults with rediss://, and no TLS with redis://.
	TLS *tls.Config

	// Credentials returns user and password for each new connection, so that
	// they can be rotated while the program runs. It wins over the URL's. An
	// empty user means the server's default user. It may be called from many
	// goroutines.
	Credentials func(ctx context.Context) (user, password string, err error)

	// AllowPlaintextPassword permits a password on a connection without TLS to a
	// host that is not this machine. Without it that is an error.
	AllowPlaintextPassword bool

	// ConnectTimeout bounds the making of a connection. 0 means
	// [DefaultConnectTimeout].
	ConnectTimeout time.Duration

	// SocketTimeout bounds each write and each answer of a command; a blocking
	// read may take its BlockTime longer. 0 means [DefaultSocketTimeout].
	SocketTimeout time.Duration

	// PoolSize bounds the connections of the client. 0 means go-redis' default,
	// 10 for each processor.
	PoolSize int
}

// OpenClient connects to the server and returns the client, which is yours to
// close. An error is a [*ConnectError] or, joined, every problem of the
// configuration. It waits as long as ctx and ConnectTimeout allow.
//
// Any other redis.UniversalClient serves this package as well; what
// OpenClient adds are time-outs that honour contexts, no retries of its own,
// and errors without secrets.
func OpenClient(ctx context.Context, cfg ClientConfig) (*redis.Client, error) {
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(opts)
	ctx, cancel := context.WithTimeout(ctx, opts.DialTimeout)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(&ConnectError{Addr: opts.Addr, Err: hinted(opts.TLSConfig != nil, refused(err))}, client.Close())
	}
	return client, nil
}

// Validate reports every problem of the configuration at once, or nil.
func (c ClientConfig) Validate() error {
	_, err := c.options()
	return err
}

func (c ClientConfig) options() (*redis.Options, error) {
	var errs []error
	bad := func(field, problem string) {
		errs = append(errs, fmt.Errorf("redisbus: ClientConfig.%s: %s", field, problem))
	}
	if c.ConnectTimeout < 0 {
		bad("ConnectTimeout", "must not be negative")
	}
	if c.SocketTimeout < 0 {
		bad("SocketTimeout", "must not be negative")
	}
	if c.PoolSize < 0 {
		bad("PoolSize", "must not be negative")
	}
	opts, err := c.parseURL()
	if err != nil {
		bad("URL", err.Error())
		return nil, errors.Join(errs...)
	}
	if c.TLS != nil {
		if opts.Network == "unix" {
			bad("TLS", "cannot be used with a unix socket")
		}
		opts.TLSConfig = c.TLS.Clone()
	}
	host, _, splitErr := net.SplitHostPort(opts.Addr)
	if splitErr != nil {
		host = opts.Addr
	}
	if opts.TLSConfig != nil && opts.TLSConfig.ServerName == "" {
		opts.TLSConfig.ServerName = host
	}
	if c.Credentials != nil {
		opts.Username, opts.Password = "", ""
		opts.CredentialsProviderContext = c.Credentials
	}
	secret := opts.Password != "" || c.Credentials != nil
	if secret && opts.TLSConfig == nil && opts.Network != "unix" && !transport.Loopback(host) && !c.AllowPlaintextPassword {
		bad("URL", "would send a password without TLS to another machine; use rediss://, or set AllowPlaintextPassword")
	}
	opts.DialTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	opts.ReadTimeout = cmp.Or(c.SocketTimeout, DefaultSocketTimeout)
	opts.WriteTimeout = opts.ReadTimeout
	opts.ContextTimeoutEnabled = true
	opts.PoolSize = c.PoolSize
	// What is worth repeating is repeated here, where it is known to be safe.
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.DisableIdentity = true
	opts.Dialer = quietly(redis.NewDialer(opts))
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opts, errors.Join(errs...)
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// quietly makes a dialer whose failures show in the first command instead of
// in the dialing. go-redis writes a line to its global logger for each dial
// that fails, and begins to dial by itself: with a server that is away, many a
// second. The error is the same.
func quietly(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return failedConn{err: &dialError{err}}, nil //nolint:nilerr // the connection has it
		}
		return c, nil
	}
}

// dialError is a layer around the error of a dial: go-redis takes one off.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// failedConn is a connection that was never made.
type failedConn struct {
	net.Conn // nil: what is not below is not used

	err error
}

func (c failedConn) Read([]byte) (int, error)         { return 0, c.err }
func (c failedConn) Write([]byte) (int, error)        { return 0, c.err }
func (c failedConn) Close() error                     { return nil }
func (c failedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c failedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c failedConn) SetDeadline(time.Time) error      { return nil }
func (c failedConn) SetReadDeadline(time.Time) error  { return nil }
func (c failedConn) SetWriteDeadline(time.Time) error { return nil }

// parseURL never quotes the URL: it may hold a password.
func (c ClientConfig) parseURL() (*redis.Options, error) {
	u, ok := transport.ParseURL(cmp.Or(c.URL, DefaultURL), unixScheme)
	if !ok {
		return nil, errors.New("is not a URL like redis://host:6379/0 (its text is not shown: it may hold a password)")
	}
	opts, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("%w, in %s; wanted is redis://host:6379/0, or rediss:// for TLS", err, redacted(c.URL))
	}
	return opts, nil
}

// unixScheme is that of URLs that name a path.
const unixScheme = "unix"

// redacted returns a URL without user, password and query.
func redacted(raw string) string {
	return transport.RedactedURL(cmp.Or(raw, DefaultURL), unixScheme)
}

// String shows the configuration without secrets.
func (c ClientConfig) String() string {
	return fmt.Sprintf("{URL:%s TLS:%t Credentials:%t AllowPlaintextPassword:%t ConnectTimeout:%v SocketTimeout:%v PoolSize:%d}",
		redacted(c.URL), c.TLS != nil, c.Credentials != nil, c.AllowPlaintextPassword,
		cmp.Or(c.ConnectTimeout, DefaultConnectTimeout), cmp.Or(c.SocketTimeout, DefaultSocketTimeout), c.PoolSize)
}

// Format shows the same for every verb: %d and %x would look past String.
func (c ClientConfig) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// GoString shows the same for %#v.
func (c ClientConfig) GoString() string { return "redisbus.ClientConfig" + c.String() }

// LogValue shows the same in logs.
func (c ClientConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON shows the same in JSON.
func (c ClientConfig) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }
