package brokers_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/leat-go/leat/integration/brokers"
)

var _ brokers.TB = testing.TB(nil)

// recorder is a TB that remembers how a test ended.
type recorder struct {
	skipped, failed string
	cleanups        []func()
}

func (r *recorder) Helper()                      {}
func (r *recorder) Cleanup(f func())             { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Logf(string, ...any)          {}
func (r *recorder) Failed() bool                 { return r.failed != "" }
func (r *recorder) Errorf(f string, args ...any) { r.failed = fmt.Sprintf(f, args...) }

func (r *recorder) Skipf(f string, args ...any) {
	r.skipped = fmt.Sprintf(f, args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(f string, args ...any) {
	r.failed = fmt.Sprintf(f, args...)
	runtime.Goexit()
}

// record runs f as a test of its own.
func record(f func(brokers.TB)) *recorder {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done

	return r
}

func TestShared_WhenTheAddressIsThere(t *testing.T) {
	helpers := map[string]func(brokers.TB) string{
		brokers.EnvRedisURL:     brokers.Redis,
		brokers.EnvRedisTLSURL:  brokers.RedisTLS,
		brokers.EnvRedisACLURL:  brokers.RedisACL,
		brokers.EnvRabbitURL:    brokers.RabbitMQ,
		brokers.EnvKafkaBrokers: brokers.KafkaBrokers,
	}
	for name, helper := range helpers {
		t.Setenv(name, "address of "+name)
		if got := helper(t); got != "address of "+name {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestShared_WhenItIsNot(t *testing.T) {
	tests := []struct {
		require string
		fails   bool
	}{
		{"", false},
		{"kafka,rabbit", false},
		{"redis", true},
		{"kafka, Redis", true},
		{"all", true},
		{"reddis", true}, // a typing error must not turn tests off
	}
	for _, test := range tests {
		t.Run("require="+test.require, func(t *testing.T) {
			t.Setenv(brokers.EnvRedisURL, "")
			t.Setenv(brokers.EnvRequire, test.require)
			r := record(func(tb brokers.TB) { brokers.Redis(tb) })

			said := r.skipped
			if test.fails {
				said = r.failed
			}
			for _, want := range []string{brokers.EnvRedisURL, "make test"} {
				if !strings.Contains(said, want) {
					t.Errorf("skipped %q, failed %q: want %q in the right one", r.skipped, r.failed, want)
				}
			}
			if strings.Contains(said, "\n") {
				t.Errorf("more than one line: %q", said)
			}
		})
	}
}

func TestStart_WhenTheProgramIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, fails := range []bool{false, true} {
		t.Setenv(brokers.EnvRequire, map[bool]string{true: "redis"}[fails])
		r := record(func(tb brokers.TB) { brokers.StartRedis(tb, brokers.RedisOptions{}) })
		said := r.skipped
		if fails {
			said = r.failed
		}
		if !strings.Contains(said, "sudo apt-get install redis-server") || !strings.Contains(said, brokers.EnvRedisURL) {
			t.Errorf("required %v: skipped %q, failed %q", fails, r.skipped, r.failed)
		}
	}
	for want, start := range map[string]func(brokers.TB){
		"sudo apt-get install rabbitmq-server":      func(tb brokers.TB) { brokers.StartRabbitMQ(tb, brokers.RabbitMQOptions{}) },
		"sudo apt-get install default-jre-headless": func(tb brokers.TB) { brokers.StartKafka(tb, brokers.KafkaOptions{}) },
	} {
		t.Setenv(brokers.EnvRequire, "all")
		if r := record(start); !strings.Contains(r.failed, want) || strings.Contains(r.failed, "\n") {
			t.Errorf("failed %q, want a sentence with %q", r.failed, want)
		}
	}
}

func TestStartRedis_IsGoneAfterTheTest(t *testing.T) {
	needRedis(t)
	var in *brokers.Instance
	r := record(func(tb brokers.TB) { in = brokers.StartRedis(tb, brokers.RedisOptions{}) })
	if in == nil || in.PID() == 0 {
		t.Fatalf("not started: %q %q", r.skipped, r.failed)
	}
	for _, cleanup := range r.cleanups {
		cleanup()
	}
	if in.PID() != 0 {
		t.Error("it still runs")
	}
	if _, err := os.Stat(in.Folder()); !os.IsNotExist(err) {
		t.Errorf("its folder: %v, want it gone", err)
	}
}

func TestParseKinds(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", "[redis rabbit kafka]"},
		{"all", "[redis rabbit kafka]"},
		{"kafka,redis", "[redis kafka]"},
		{" RabbitMQ , redis,redis", "[redis rabbit]"},
	}
	for _, test := range tests {
		got, err := brokers.ParseKinds(test.in)
		if err != nil || fmt.Sprint(got) != test.want {
			t.Errorf("%q: got %v, %v; want %s", test.in, got, err, test.want)
		}
	}
	if _, err := brokers.ParseKinds("redis,postgres"); err == nil || !strings.Contains(err.Error(), `"postgres"`) {
		t.Errorf("unknown broker: %v", err)
	}
}

func TestVar_ExportIsSafeInAShell(t *testing.T) {
	t.Parallel()
	v := brokers.Var{Name: "A", Value: "it's $HOME `x`"}
	if got, want := v.Export(), `export A='it'\''s $HOME `+"`x`'"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
