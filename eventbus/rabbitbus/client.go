package rabbitbus

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

const (
	// DefaultURL is the broker of a configuration that names none.
	DefaultURL = "amqp://guest:guest@localhost:5672/"

	// DefaultConnectTimeout bounds TCP, TLS and log-in together, for each node.
	// Shorter fails while a busy broker still answers; longer makes a dead one
	// noticed late.
	DefaultConnectTimeout = 5 * time.Second

	// DefaultHeartbeat finds a half-open connection after three of it at the
	// latest. Shorter takes a broker that is only busy for dead.
	DefaultHeartbeat = 10 * time.Second
)

// ClientConfig configures [Connect]. Every formatted form of it, whatever the
// verb or the logger, shows URLs without user, password and query.
type ClientConfig struct {
	// URL names the broker, as the AMQP URI specification says:
	// amqp://user:password@host:port/vhost, amqps:// for TLS, with the query
	// parameters cacertfile, certfile, keyfile, server_name_indication,
	// auth_mechanism (plain, external), heartbeat, connection_timeout and
	// channel_max. Empty means [DefaultURL].
	URL string

	// MoreURLs name further nodes of the same cluster. They are tried in turn,
	// from where the last connection was.
	MoreURLs []string

	// TLS is used for amqps:// URLs and replaces their certificate parameters.
	// A ServerName that is empty becomes the URL's host. nil means the standard
	// library's defaults.
	TLS *tls.Config

	// Credentials returns user and password for each new connection, so that
	// they can be rotated while the program runs. It wins over the URL's. It may
	// be called from many goroutines.
	Credentials func(ctx context.Context) (user, password string, err error)

	// AllowPlaintextPassword permits a password on a connection without TLS to a
	// host that is not this machine. Without it that is an error.
	AllowPlaintextPassword bool

	// ConnectTimeout bounds the making of a connection to one node. 0 means
	// [DefaultConnectTimeout].
	ConnectTimeout time.Duration

	// Heartbeat is the interval of keep-alives that is asked for, in whole
	// seconds; the broker may want a shorter one. A heartbeat in the URL wins.
	// 0 means [DefaultHeartbeat].
	Heartbeat time.Duration

	// Name is what the management pages show for the connection. Host and
	// process id are added. Empty means the program's name.
	Name string

	// Logger receives one line for each change of state. nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once, or nil.
func (c ClientConfig) Validate() error {
	var errs []error
	bad := func(field, problem string) {
		errs = append(errs, fmt.Errorf("rabbitbus: ClientConfig.%s: %s", field, problem))
	}
	for i, raw := range c.urls() {
		field := "URL"
		if i > 0 {
			field = fmt.Sprintf("MoreURLs[%d]", i-1)
		}
		if problem := c.checkURL(raw); problem != "" {
			bad(field, problem)
		}
	}
	if c.ConnectTimeout < 0 {
		bad("ConnectTimeout", "must not be negative")
	}
	if c.Heartbeat < 0 {
		bad("Heartbeat", "must not be negative")
	}
	if c.Heartbeat > 0 && c.Heartbeat < time.Second {
		bad("Heartbeat", "must be at least a second, the unit of AMQP")
	}
	return errors.Join(errs...)
}

func (c ClientConfig) urls() []string {
	return append([]string{cmp.Or(c.URL, DefaultURL)}, c.MoreURLs...)
}

// checkURL tells what is wrong with a URL, without ever quoting it: the errors
// of the parsers hold it whole, password and all.
func (c ClientConfig) checkURL(raw string) string {
	u, ok := transport.ParseURL(raw)
	if !ok {
		return "is not a URL like amqp://host:5672/ (its text is not shown: it may hold a password); percent-encode reserved characters in user and password"
	}
	if u.Scheme != "amqp" && u.Scheme != "amqps" {
		return fmt.Sprintf("must begin with amqp:// or amqps://, in %s", redacted(raw))
	}
	parsed, err := amqp.ParseURI(raw)
	if err != nil {
		return fmt.Sprintf("port or query is malformed, in %s", redacted(raw))
	}
	external := false
	for _, mechanism := range parsed.AuthMechanism {
		switch strings.ToLower(mechanism) {
		case "external":
			external = true
		case "plain", "amqplain":
		default:
			return fmt.Sprintf("auth_mechanism %q is not supported; use plain or external", mechanism)
		}
	}
	if external && u.Scheme != "amqps" {
		return "auth_mechanism external needs amqps:// and a client certificate"
	}
	if u.Scheme == "amqp" && !external && !transport.Loopback(parsed.Host) && !c.AllowPlaintextPassword {
		return "would send a password without TLS to another machine; use amqps://, or set AllowPlaintextPassword"
	}
	return ""
}

func (c ClientConfig) withDefaults() ClientConfig {
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	c.Heartbeat = cmp.Or(c.Heartbeat, DefaultHeartbeat)
	if c.Name == "" {
		c.Name = programName()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// redacted returns a URL without user, password and query.
func redacted(raw string) string { return transport.RedactedURL(cmp.Or(raw, DefaultURL)) }

func redactedAll(raw []string) string {
	shown := make([]string, len(raw))
	for i, r := range raw {
		shown[i] = redacted(r)
	}
	return strings.Join(shown, ",")
}

// String shows the configuration without secrets.
func (c ClientConfig) String() string {
	return fmt.Sprintf("{URL:%s TLS:%t Credentials:%t AllowPlaintextPassword:%t ConnectTimeout:%v Heartbeat:%v Name:%s}",
		redactedAll(c.urls()), c.TLS != nil, c.Credentials != nil, c.AllowPlaintextPassword,
		cmp.Or(c.ConnectTimeout, DefaultConnectTimeout), cmp.Or(c.Heartbeat, DefaultHeartbeat), c.Name)
}

// Format shows the same for every verb: %d and %x would look past String.
func (c ClientConfig) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// GoString shows the same for %#v.
func (c ClientConfig) GoString() string { return "rabbitbus.ClientConfig" + c.String() }

// LogValue shows the same in logs.
func (c ClientConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON shows the same in JSON.
func (c ClientConfig) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }
