package brokers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-go/leat/integration/brokers"
)

// fakeDocker stands for docker with an engine: "compose up" starts the Redis
// that the compose file describes, on the ports it is given, and "compose rm"
// and "compose down" stop it.
const fakeDocker = `#!/bin/sh
echo "$@" >>"$FAKE/calls"
case "$*" in
"info "*) [ ! -e "$FAKE/no-engine" ] ;;
"compose version") ;;
*" up "*)
	certs=$FAKE/../.brokers/certs
	cd "$FAKE" && redis-server --daemonize yes --pidfile "$FAKE/pid" --dir "$FAKE" --bind 127.0.0.1 --save "" \
		--port "$LEAT_REDIS_PORT" --tls-port "$LEAT_REDIS_TLS_PORT" --tls-auth-clients optional \
		--tls-cert-file "$certs/server.pem" --tls-key-file "$certs/server-key.pem" --tls-ca-cert-file "$certs/ca.pem" \
		--user leat on '>leat p@ss/word' '~*' '&*' +@all -@dangerous >/dev/null ;;
*" rm "*|*" down "*) [ ! -e "$FAKE/pid" ] || kill -KILL "$(cat "$FAKE/pid")"; rm -f "$FAKE/pid" ;;
*) exit 64 ;;
esac
`

// dockered is a shared set on a machine with Docker.
func dockered(t *testing.T) (s *shared, fake string, calls func() string) {
	t.Helper()
	s = newShared(t)
	root := t.TempDir()
	fake = filepath.Join(root, "fake")
	s.opts.Folder = filepath.Join(root, ".brokers")
	compose, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		filepath.Join(root, "docker-compose.yml"): string(compose),
		filepath.Join(fake, "docker"):             fakeDocker,
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FAKE", fake)
	t.Setenv("PATH", fake+":"+os.Getenv("PATH"))

	return s, fake, func() string {
		text, _ := os.ReadFile(filepath.Join(fake, "calls"))

		return string(text)
	}
}

func TestDocker_UpAndDown(t *testing.T) {
	s, _, calls := dockered(t)
	addr := s.up()
	pid := processID(t, addr)
	if again := s.up(); again != addr || processID(t, addr) != pid {
		t.Errorf("second up: %s, want the same", again)
	}
	if st := s.status(); !st.Up {
		t.Errorf("status: %+v", st)
	}
	if n := strings.Count(calls(), " up -d --wait redis"); n != 1 {
		t.Errorf("%d calls of compose up, want 1:\n%s", n, calls())
	}

	s.down()
	// The fake docker kills, and does not wait as the real one does.
	await(t, "it does not answer after down", func() bool { return down(addr) })
	for _, want := range []string{"-p leat rm --stop --force --volumes redis", "-p leat down --volumes"} {
		if !strings.Contains(calls(), want) {
			t.Errorf("no call of %q:\n%s", want, calls())
		}
	}
	if st := s.status(); st.Up || st.Err != nil {
		t.Errorf("after down: %+v", st)
	}
}

func TestDocker_RunHasAProjectOfItsOwn(t *testing.T) {
	s, _, calls := dockered(t)
	var out strings.Builder
	code, err := brokers.RunCommand(t.Context(), s.opts,
		[]string{"sh", "-c", `redis-cli -u "$LEAT_TEST_REDIS_URL" ping`}, &out, &out)
	if code != 0 || err != nil || out.String() != "PONG\n" {
		t.Errorf("code %d, %v, output %q", code, err, out.String())
	}
	if !strings.Contains(calls(), "-p leat-run-") || !strings.Contains(calls(), " down --volumes") {
		t.Errorf("calls:\n%s", calls())
	}
}

func TestDocker_ClientWithoutEngineIsNoDocker(t *testing.T) {
	s, fake, calls := dockered(t)
	if err := os.WriteFile(filepath.Join(fake, "no-engine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if down(s.up()) {
		t.Error("not started natively")
	}
	if strings.Contains(calls(), "compose") {
		t.Errorf("calls:\n%s", calls())
	}
}
