package transport_test

import (
	"testing"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

func TestRedactedURL(t *testing.T) {
	t.Parallel()
	const none = "(not a URL)"
	for raw, want := range map[string]string{
		"redis://host:6379/1":                          "redis://host:6379/1",
		"amqp://me:secret@host:5672/vhost":             "amqp://...@host:5672/vhost",
		"amqp://me@host/":                              "amqp://...@host/",
		"amqps://me:secret@[::1]:5671?password=secret": "amqps://...@[::1]:5671",
		"redis://:secret@host#secret":                  "redis://...@host",
		"redis://me:se%20cret@host":                    "redis://...@host",
		"me:secret@host:6379":                          none, // me is the scheme
		"secret@host:6379":                             none, // a path
		"//me:secret@host":                             none,
		"redis:/me:secret@host":                        none, // a path again
		"redis:///me:secret@host":                      none,
		"redis:me:secret@host":                         none,
		"redis://me:se cret@host":                      none,
		"redis://me:secret%zz@host":                    none,
		"redis://me:secret@host:port":                  none,
		"":                                             none,
		"unix:///run/app@2/redis.sock":                 none, // no path's scheme, as long as nobody says so
		"redis:///1":                                   "redis:///1",
		"amqp://host/vhost@2":                          "amqp://host/vhost@2",
	} {
		if got := transport.RedactedURL(raw); got != want {
			t.Errorf("%q is shown as %q, want %q", raw, got, want)
		}
		if u, ok := transport.ParseURL(raw); ok != (want != none) || ok != (u != nil) {
			t.Errorf("%q: %v, %v", raw, u, ok)
		}
	}
}

func TestRedactedURL_OfAPath(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"unix:///run/app@2/redis.sock":           "unix:///run/app@2/redis.sock",
		"unix://me:secret@/run/redis.sock?db=1":  "unix://...@/run/redis.sock",
		"redis:///me:secret@host":                "(not a URL)", // another scheme's
		"unix:secret@run":                        "(not a URL)",
		"/run/app@2/redis.sock":                  "(not a URL)",
		"redis://me:secret@host:6379/0?timeout=": "redis://...@host:6379/0",
	} {
		if got := transport.RedactedURL(raw, "unix"); got != want {
			t.Errorf("%q is shown as %q, want %q", raw, got, want)
		}
	}
}

// What was parsed has all that was in the text: it is connected to with that.
func TestParseURL_LosesNothing(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"amqps://me:se%2Fcret@host:5671/%2f?heartbeat=2#f", "unix:///run/app@2/redis.sock?db=1"} {
		if u, ok := transport.ParseURL(raw, "unix"); !ok || u.String() != raw {
			t.Errorf("%q became %v, %v", raw, u, ok)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.10": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "10.0.0.1": false, "::": false, "0.0.0.0": false, "localhost.example.com": false, "127.0.0.1.example.com": false,
	} {
		if got := transport.Loopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
