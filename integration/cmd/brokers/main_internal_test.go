package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestRun_CommandLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".brokers")
	tests := []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{nil, 2, "", "usage: brokers up"},
		{[]string{"help"}, 0, "usage: brokers up", ""},
		{[]string{"up", "-h"}, 0, "", "-only"},
		{[]string{"fly"}, 2, "", `unknown command "fly"`},
		{[]string{"up", "-only=redis,postgres"}, 2, "", `unknown broker "postgres"`},
		{[]string{"up", "-fast"}, 2, "", "-fast"},
		{[]string{"down", "redis"}, 2, "", `unexpected argument "redis"`},
		{[]string{"run", "-only=redis"}, 2, "", "no command"},
		{[]string{"env", "-dir", dir}, 1, "", "nothing is up"},
		{[]string{"status", "-only=redis", "-dir", dir}, 0, "redis   not up", ""},
		{[]string{"certs", "-dir", dir}, 0, filepath.Join(dir, "certs"), ""},
		{[]string{"down", "-dir", dir}, 0, "", "redis: was not up"},
	}
	for _, name := range []string{brokers.EnvRedisURL, brokers.EnvRabbitURL, brokers.EnvKafkaBrokers} {
		t.Setenv(name, "")
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			var stdout, stderr strings.Builder
			code := run(t.Context(), test.args, &stdout, &stderr)
			if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("code %d, want %d\nstdout: %s\nstderr: %s", code, test.code, stdout.String(), stderr.String())
			}
			if test.stdout == "" && stdout.Len() > 0 {
				t.Errorf("standard output is for addresses, got %q", stdout.String())
			}
		})
	}
}

// A shell must be able to read what up prints, and env must print the same.
func TestRun_UpEnvDown(t *testing.T) {
	brokers.StartRedis(t, brokers.RedisOptions{}) // skips without Redis
	for _, name := range []string{brokers.EnvRedisURL, brokers.EnvCertsDir} {
		t.Setenv(name, "")
	}
	args := []string{"-only=redis", "-dir", filepath.Join(t.TempDir(), ".brokers")}
	// Not t.Context: it has ended when cleanups run.
	call := func(name string, more ...string) string {
		t.Helper()
		var stdout, stderr strings.Builder
		if code := run(context.Background(), append(append([]string{name}, args...), more...), &stdout, &stderr); code != 0 {
			t.Fatalf("%s: code %d, %s", name, code, stderr.String())
		}

		return stdout.String()
	}
	t.Cleanup(func() { call("down") })

	lines := call("up")
	if again := call("env"); again != lines {
		t.Errorf("env prints\n%s, up printed\n%s", again, lines)
	}
	shell := exec.Command("sh", "-c", lines+`redis-cli -u "$LEAT_TEST_REDIS_URL" ping && redis-cli -u "$LEAT_TEST_REDIS_ACL_URL" --no-auth-warning ping && ls "$LEAT_TEST_CERTS_DIR/ca.pem"`)
	shell.Env = os.Environ()
	out, err := shell.CombinedOutput()
	if err != nil || strings.Count(string(out), "PONG") != 2 {
		t.Errorf("%v: %s", err, out)
	}
	if got := call("status"); !strings.HasPrefix(got, "redis   up, processes [") {
		t.Errorf("status: %s", got)
	}
}

func TestRun_PassesTheExitCodeOn(t *testing.T) {
	brokers.StartRedis(t, brokers.RedisOptions{}) // skips without Redis
	t.Setenv(brokers.EnvRedisURL, "")
	var stdout, stderr strings.Builder
	args := []string{"run", "-only=redis", "-dir", filepath.Join(t.TempDir(), ".brokers"), "--", "sh", "-c", "echo $LEAT_TEST_REQUIRE; exit 9"}
	t.Setenv(brokers.EnvRequire, "x") // restored afterwards
	_ = os.Unsetenv(brokers.EnvRequire)
	if code := run(t.Context(), args, &stdout, &stderr); code != 9 || stdout.String() != "redis\n" {
		t.Errorf("code %d, stdout %q, stderr %s", code, stdout.String(), stderr.String())
	}
}
