package brokers_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/leat-go/leat/integration/brokers"
)

// shared is the shared set of a checkout of the test's own, Redis only.
type shared struct {
	t    *testing.T
	opts brokers.Options
	log  *strings.Builder
}

func newShared(t *testing.T) *shared {
	t.Helper()
	needRedis(t)
	for _, name := range []string{brokers.EnvRedisURL, brokers.EnvRedisTLSURL, brokers.EnvRedisACLURL, brokers.EnvCertsDir} {
		t.Setenv(name, "") // of the run that this test may be part of
	}
	log := &strings.Builder{}
	s := &shared{t: t, log: log, opts: brokers.Options{
		Kinds: []brokers.Kind{brokers.KindRedis}, Folder: filepath.Join(t.TempDir(), ".brokers"), Progress: log,
	}}
	t.Cleanup(func() {
		if err := brokers.Down(contextBackground(), s.opts); err != nil {
			t.Error(err)
		}
	})

	return s
}

// up returns host:port of the Redis.
func (s *shared) up() string {
	s.t.Helper()
	vars, err := brokers.Up(s.t.Context(), s.opts)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log)
	}
	for _, v := range vars {
		if v.Name == brokers.EnvRedisURL {
			return strings.TrimSuffix(strings.TrimPrefix(v.Value, "redis://"), "/0")
		}
	}
	s.t.Fatalf("no %s among %v", brokers.EnvRedisURL, vars)

	return ""
}

func (s *shared) down() {
	s.t.Helper()
	if err := brokers.Down(s.t.Context(), s.opts); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shared) status() brokers.Status {
	s.t.Helper()
	list, err := brokers.Statuses(s.t.Context(), s.opts)
	if err != nil || len(list) != 1 {
		s.t.Fatalf("%v, %v", list, err)
	}

	return list[0]
}

// processID asks Redis itself.
func processID(t *testing.T, addr string) int {
	t.Helper()
	info := redisDo(addr, "INFO", "server")
	_, rest, _ := strings.Cut(info, "process_id:")
	line, _, _ := strings.Cut(rest, "\r\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatalf("no process id in %q", info)
	}

	return pid
}

func down(addr string) bool { return strings.Contains(redisDo(addr, "PING"), "refused") }

func TestUp_TwiceIsOnce_DownStops(t *testing.T) {
	s := newShared(t)
	if st := s.status(); st.Up || st.Err != nil {
		t.Errorf("before: %+v", st)
	}
	addr := s.up()
	pid := processID(t, addr)
	if again := s.up(); again != addr || processID(t, again) != pid {
		t.Errorf("second up: %s, process %d; want %s, %d", again, processID(t, again), addr, pid)
	}
	if st := s.status(); !st.Up || len(st.PIDs) != 1 || st.PIDs[0] != pid {
		t.Errorf("status: %+v, want up as process %d", st, pid)
	}

	s.down()
	if got := redisDo(addr, "PING"); !strings.Contains(got, "refused") {
		t.Errorf("after down: %q, want a refused connection", got)
	}
	if st := s.status(); st.Up || st.Err != nil || len(st.PIDs) != 0 {
		t.Errorf("after: %+v", st)
	}
	s.down() // nothing to do is no error
}

func TestUp_AfterTheBrokerDiedOrHangs(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"died": syscall.SIGKILL, "hangs": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			s := newShared(t)
			old := processID(t, s.up())
			if err := syscall.Kill(old, sig); err != nil {
				t.Fatal(err)
			}
			if addr := s.up(); processID(t, addr) == old {
				t.Error("the broken one is still there")
			}
			if err := syscall.Kill(old, 0); err == nil {
				t.Errorf("process %d was left behind", old)
			}
		})
	}
}

func TestUp_AfterACrashThatLostTheState(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"no state file":     os.Remove,
		"half a state file": func(file string) error { return os.Truncate(file, 20) },
		"another's old state": func(file string) error {
			// A process id that now belongs to somebody else: to this test.
			text := `{"brokers":[{"kind":"redis","processes":[{"pid":` + strconv.Itoa(os.Getpid()) + `,"start":1,"boot":"x"}],"vars":[]}]}`
			return os.WriteFile(file, []byte(text), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShared(t)
			old := processID(t, s.up())
			if err := damage(filepath.Join(s.opts.Folder, "state.json")); err != nil {
				t.Fatal(err)
			}
			addr := s.up()
			if processID(t, addr) == old {
				t.Error("the lost one still holds the port")
			}
			if err := syscall.Kill(old, 0); err == nil {
				t.Errorf("process %d was left behind", old)
			}
			s.down()
			if !down(addr) {
				t.Error("it answers after down")
			}
		})
	}
}

func TestDown_SparesAProcessThatGotTheOldID(t *testing.T) {
	s := newShared(t)
	s.up()
	s.down()
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- other.Wait() }()
	t.Cleanup(func() {
		_ = other.Process.Kill()
		<-ended
	})

	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"brokers":[{"kind":"redis","processes":[{"pid":%d,"start":1,"boot":%q}],"vars":[]}]}`,
		other.Process.Pid, strings.TrimSpace(string(boot)))
	if err := os.WriteFile(filepath.Join(s.opts.Folder, "state.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.down()
	if err := other.Process.Signal(syscall.Signal(0)); err != nil || gone(strconv.Itoa(other.Process.Pid)) {
		t.Errorf("another's process was stopped: %v", err)
	}
}

func TestUp_LeavesOthersAlone(t *testing.T) {
	s := newShared(t)
	wanted := s.up()
	s.down()

	// Somebody else's server on the port that we would take.
	_, port, _ := strings.Cut(wanted, ":")
	other := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	awaitAnswer(t, wanted)

	got := s.up()
	if got == wanted {
		t.Fatalf("took %s, which is another's", got)
	}
	s.down()
	if pid := processID(t, wanted); pid != other.Process.Pid {
		t.Errorf("the other server: process %d, want %d", pid, other.Process.Pid)
	}
}

func TestUp_UsesAGivenAddress(t *testing.T) {
	s := newShared(t)
	private := brokers.StartRedis(t, brokers.RedisOptions{})
	t.Setenv(brokers.EnvRedisURL, private.URL())

	if got := s.up(); got != private.Addr() {
		t.Errorf("got %s, want the given %s", got, private.Addr())
	}
	if st := s.status(); !st.Up || !st.Given {
		t.Errorf("status: %+v, want up and given", st)
	}
	s.down()
	if private.PID() == 0 || down(private.Addr()) {
		t.Error("the given server was stopped")
	}

	if err := private.Kill(); err != nil {
		t.Fatal(err)
	}
	vars, err := brokers.Up(t.Context(), s.opts)
	if err == nil || !strings.Contains(err.Error(), brokers.EnvRedisURL) {
		t.Errorf("given and dead: %v, %v; want an error that names %s", vars, err, brokers.EnvRedisURL)
	}
}

func TestUp_AVariableLeftFromTheLastUpIsNotGiven(t *testing.T) {
	s := newShared(t)
	t.Setenv(brokers.EnvRedisURL, "redis://"+s.up()+"/0")
	s.down()
	if down(s.up()) {
		t.Error("not started")
	}
}

func TestUp_ErrorsKeepSecrets(t *testing.T) {
	s := newShared(t)
	private := brokers.StartRedis(t, brokers.RedisOptions{})
	const canary = "c4n4ry"
	for _, address := range []string{
		"redis://leat:" + canary + "@" + private.Addr() + "/0",
		"redis://:" + canary + "@" + private.Addr(),
		"redis://leat:" + canary + "@127.0.0.1:1/0",
		"redis://leat:" + canary + "%zz@localhost:1/0",
	} {
		t.Setenv(brokers.EnvRedisURL, address)
		_, err := brokers.Up(t.Context(), s.opts)
		if err == nil || strings.Contains(err.Error(), canary) || strings.Contains(s.log.String(), canary) {
			t.Errorf("err = %v, log %q; want an error without the password", err, s.log)
		}
	}
}
