package brokers

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/leat-go/leat/integration/certs"
)

// TB is the part of testing.TB that the helpers need.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
}

// Redis returns the URL of the shared Redis, [EnvRedisURL]. When it is not
// set the test is skipped, or fails when [EnvRequire] names redis. Tests share
// the server: use stream and key names of your own, and never FLUSHALL.
func Redis(tb TB) string {
	tb.Helper()

	return Shared(tb, EnvRedisURL)
}

// RedisTLS returns [EnvRedisTLSURL]; see [Redis] and [Certs].
func RedisTLS(tb TB) string {
	tb.Helper()

	return Shared(tb, EnvRedisTLSURL)
}

// RedisACL returns [EnvRedisACLURL]; see [Redis].
func RedisACL(tb TB) string {
	tb.Helper()

	return Shared(tb, EnvRedisACLURL)
}

// RabbitMQ returns the URL of the shared RabbitMQ, [EnvRabbitURL]; see [Redis].
func RabbitMQ(tb TB) string {
	tb.Helper()

	return Shared(tb, EnvRabbitURL)
}

// KafkaBrokers returns host:port of the shared Kafka, [EnvKafkaBrokers],
// comma separated when there are several; see [Redis].
func KafkaBrokers(tb TB) string {
	tb.Helper()

	return Shared(tb, EnvKafkaBrokers)
}

// Shared returns the value of one of the Env constants. When it is not set the
// test is skipped with a line that names the variable, or fails when
// [EnvRequire] names the broker it belongs to.
func Shared(tb TB, name string) string {
	tb.Helper()
	if value := os.Getenv(name); value != "" {
		return value
	}

	kind := kindOf(name)
	if kind == "" {
		tb.Fatalf("brokers: %s is no variable of a broker", name)
	}
	absent(tb, kind, name+" is not set: run `make test`, or eval \"$(make -s brokers)\" first")

	return ""
}

// StartRedis starts a Redis of the test's own: in about a tenth of a second,
// on ports of its own, gone when the test ends and also when the test binary
// dies. Without redis-server on the machine the test is skipped, or fails when
// [EnvRequire] names redis.
func StartRedis(tb TB, opts RedisOptions) *Instance {
	tb.Helper()

	return startPrivate(tb, KindRedis, func(home) server { return redis{opts} })
}

// StartRabbitMQ starts a RabbitMQ of the test's own; see [StartRedis]. It takes
// about seven seconds.
func StartRabbitMQ(tb TB, opts RabbitMQOptions) *Instance {
	tb.Helper()

	return startPrivate(tb, KindRabbit, func(home) server { return rabbit{opts} })
}

// StartKafka starts an Apache Kafka of the test's own; see [StartRedis]. It
// takes about four seconds.
func StartKafka(tb TB, opts KafkaOptions) *Instance {
	tb.Helper()

	return startPrivate(tb, KindKafka, func(h home) server { return kafka{opts, h.kafkaLibs()} })
}

// startPrivate starts an instance that belongs to one test.
func startPrivate(tb TB, kind Kind, srv func(home) server) *Instance {
	tb.Helper()
	h, err := findHome()
	if err != nil {
		tb.Fatalf("%v", err)

		return nil
	}
	if err := newInstaller(h, newProgress(io.Discard)).missing(kind); err != nil {
		absent(tb, kind, err.Error())

		return nil
	}

	in, err := h.newPrivate(context.Background(), kind, srv(h))
	if err != nil {
		tb.Fatalf("%v", err)

		return nil
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("brokers: %s of this test%s", kind, in.logTail())
		}
		if err := in.remove(); err != nil {
			tb.Errorf("%v", err)
		}
	})

	return in
}

// newPrivate starts an instance in a folder of this process.
func (h home) newPrivate(ctx context.Context, kind Kind, srv server) (*Instance, error) {
	set, err := h.certs()
	if err != nil {
		return nil, err
	}

	for attempt := 1; ; attempt++ {
		folder, err := h.ownFolder("test")
		if err != nil {
			return nil, err
		}
		in, err := newInstance(ctx, srv, kind, folder, set, true, nil)
		if err != nil {
			return nil, err
		}
		if err = in.Start(ctx); err == nil {
			return in, nil
		}
		_ = in.remove() // the start's error is the one to tell
		if attempt == startAttempts {
			return nil, err
		}
	}
}

// absent ends a test that cannot run.
func absent(tb TB, kind Kind, why string) {
	tb.Helper()
	if required(kind) {
		tb.Fatalf("brokers: %s=%s: %s", EnvRequire, os.Getenv(EnvRequire), strings.TrimPrefix(why, "brokers: "))
	}
	tb.Skipf("needs %s: %s", kind, strings.TrimPrefix(why, "brokers: "))
}

// required reports whether [EnvRequire] names the kind. A list that cannot be
// read requires everything: a typing error must not turn tests off. What else
// tests may require is no broker.
func required(kind Kind) bool {
	words := strings.Split(os.Getenv(EnvRequire), ",")
	words = slices.DeleteFunc(words, func(w string) bool { return strings.EqualFold(strings.TrimSpace(w), Prometheus) })
	kinds, err := parseNamed(strings.Join(words, ","))

	return err != nil || slices.Contains(kinds, kind)
}

func kindOf(name string) Kind {
	for _, kind := range Kinds() {
		if slices.Contains(kind.names(), name) {
			return kind
		}
	}

	return ""
}

// Certs returns the certificates of the shared brokers, from [EnvCertsDir] or
// else those of the checkout, which are made when missing.
func Certs(tb TB) *certs.Set {
	tb.Helper()
	if dir := os.Getenv(EnvCertsDir); dir != "" {
		set, err := certs.Open(dir)
		if err != nil {
			tb.Fatalf("%v", err)
		}

		return set
	}

	h, err := findHome()
	if err != nil {
		tb.Fatalf("%v", err)

		return nil
	}
	set, err := h.certs()
	if err != nil {
		tb.Fatalf("%v", err)
	}

	return set
}
