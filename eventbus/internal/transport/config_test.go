package transport_test

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

var errShort = errors.New("too short")

func TestInConfig(t *testing.T) {
	t.Parallel()
	if err := transport.InConfig(nil, "a", "b"); err != nil {
		t.Errorf("nil: %v", err)
	}
	err := errors.Join(
		errors.New("mybus: ClientConfig.URL: is not a URL"),
		errors.New("mybus: ClientConfig.URL: has a password"), // another problem of the same part
		errors.New("mybus: SubscriberConfig.Concurrency: must not be negative"),
		errors.New("eventbus: Config.Concurrency: -1 must not be negative"), // the same of another part
		fmt.Errorf("eventbus: Config.Topic: %w", errShort),
		errors.New("eventbus: Config.Registry: must not be nil"),
		errors.New("eventbus: Config.Registry: must not be nil"),
	)
	got := transport.InConfig(err,
		"eventbus: Config.Topic:", "mybus: Config.Prefix:",
		"eventbus: Config.", "mybus: Config.",
		"mybus: ClientConfig.", "mybus: Config.",
		"mybus: SubscriberConfig.", "mybus: Config.",
	)
	want := "mybus: Config.URL: is not a URL\n" +
		"mybus: Config.URL: has a password\n" +
		"mybus: Config.Concurrency: must not be negative\n" +
		"mybus: Config.Prefix: too short\n" +
		"mybus: Config.Registry: must not be nil"
	if got.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", got, want)
	}
	if !errors.Is(got, errShort) {
		t.Error("the cause is lost")
	}
	if lines, ok := got.(interface{ Unwrap() []error }); !ok || len(lines.Unwrap()) != 5 {
		t.Errorf("%T is no list of five problems", got)
	}
}

func TestConsumerName(t *testing.T) {
	t.Parallel()
	a, b := transport.ConsumerName(), transport.ConsumerName()
	if a == b {
		t.Errorf("two have the name %s", a)
	}
	if !regexp.MustCompile(`^.+-[0-9a-f]{8}$`).MatchString(a) {
		t.Errorf("name %q", a)
	}
}
