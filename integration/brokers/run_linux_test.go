package brokers_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/integration/brokers"
)

// await polls until ok, for what another process does.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

func awaitAnswer(t *testing.T, addr string) {
	t.Helper()
	await(t, addr+" answers", func() bool { return redisDo(addr, "PING") == "+PONG" })
}

func runs(folder string) []string {
	found, _ := filepath.Glob(filepath.Join(folder, "run-*"))

	return found
}

func TestRunCommand_GivesAddressesAndTheExitCode(t *testing.T) {
	s := newShared(t)
	t.Setenv(brokers.EnvRequire, "kafka")
	var out strings.Builder
	code, err := brokers.RunCommand(t.Context(), s.opts,
		[]string{"sh", "-c", `redis-cli -u "$LEAT_TEST_REDIS_URL" ping; echo "$LEAT_TEST_REDIS_URL $LEAT_TEST_REQUIRE"; cat; exit 7`}, &out, &out)
	if code != 7 || err != nil {
		t.Errorf("code %d, %v; want 7", code, err)
	}
	fields := strings.Fields(out.String())
	if len(fields) != 3 || fields[0] != "PONG" || fields[2] != "kafka" {
		t.Fatalf("output %q", out.String())
	}
	if addr := strings.TrimSuffix(strings.TrimPrefix(fields[1], "redis://"), "/0"); !down(addr) {
		t.Errorf("%s answers after the run", addr)
	}
	if left := runs(s.opts.Folder); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRunCommand_ASignalEndsTheCommandAndAll(t *testing.T) {
	s := newShared(t)
	var out strings.Builder
	code, err := brokers.RunCommand(t.Context(), s.opts, []string{"sh", "-c", "kill -KILL $$"}, &out, &out)
	if code != 128+9 || err != nil {
		t.Errorf("code %d, %v; want 137", code, err)
	}
	code, err = brokers.RunCommand(t.Context(), s.opts, []string{"/no/such/program"}, &out, &out)
	if code != 1 || err == nil {
		t.Errorf("no such program: code %d, %v", code, err)
	}
	if left := runs(s.opts.Folder); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRunCommand_LeavesTheSharedSetUp(t *testing.T) {
	s := newShared(t)
	addr := s.up()
	var out strings.Builder
	code, err := brokers.RunCommand(t.Context(), s.opts, []string{"sh", "-c", "echo $LEAT_TEST_REDIS_URL"}, &out, &out)
	if code != 0 || err != nil || !strings.Contains(out.String(), addr) {
		t.Errorf("code %d, %v, output %q; want %s", code, err, out.String(), addr)
	}
	if down(addr) {
		t.Error("the shared one was stopped")
	}
}

func TestRunCommand_KillsWhatTheCommandLeavesBehind(t *testing.T) {
	s := newShared(t)
	var out strings.Builder
	code, err := brokers.RunCommand(t.Context(), s.opts,
		[]string{"sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"}, &out, &out)
	if code != 0 || err != nil {
		t.Fatalf("code %d, %v", code, err)
	}
	pid := strings.TrimSpace(out.String())
	await(t, "process "+pid+" is gone", func() bool { return gone(pid) })
}

func gone(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")

	return err != nil || strings.Contains(string(stat), ") Z ")
}

// startRun runs this test binary as "brokers run", with a command that waits,
// and returns it, the Redis it started and a process that the command leaves
// behind.
func startRun(t *testing.T, s *shared) (run *exec.Cmd, addr, orphan string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "command.sh")
	if err := os.WriteFile(script, []byte("setsid sleep 1001 &\necho $LEAT_TEST_REDIS_URL $!\nexec sleep 1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run = exec.Command(os.Args[0])
	run.Env = append(os.Environ(), helperEnv+"=run", "FOLDER="+s.opts.Folder, "COMMAND=sh "+script)
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the sweep of the shared set's cleanup
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}

	address, orphan, _ := strings.Cut(strings.TrimSpace(line), " ")

	return run, strings.TrimSuffix(strings.TrimPrefix(address, "redis://"), "/0"), orphan
}

func TestRun_SIGTERMStopsAll(t *testing.T) {
	s := newShared(t)
	run, addr, orphan := startRun(t, s)
	awaitAnswer(t, addr)
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait()
	if code := run.ProcessState.ExitCode(); code != 128+int(syscall.SIGINT) {
		t.Errorf("exit code %d, want that of an interrupted command", code)
	}
	await(t, "the command's child is gone", func() bool { return gone(orphan) })
	if !down(addr) || len(runs(s.opts.Folder)) != 0 {
		t.Errorf("redis down: %v, left behind: %v", down(addr), runs(s.opts.Folder))
	}
}

func TestRun_SIGKILLTakesItsBrokersAlong(t *testing.T) {
	s := newShared(t)
	run, addr, orphan := startRun(t, s)
	awaitAnswer(t, addr)
	_ = run.Process.Kill()
	_ = run.Wait()
	await(t, "redis is gone too", func() bool { return down(addr) })

	// The rest is swept by whoever comes next.
	if gone(orphan) {
		t.Fatal("the command left nothing behind: this test shows nothing")
	}
	if len(runs(s.opts.Folder)) != 1 {
		t.Fatalf("runs: %v, want one to be swept", runs(s.opts.Folder))
	}
	s.down()
	await(t, "the command's child is gone", func() bool { return gone(orphan) })
	if left := runs(s.opts.Folder); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRun_TwoAtATimeDoNotMeet(t *testing.T) {
	s := newShared(t)
	first, a, _ := startRun(t, s)
	_, b, _ := startRun(t, s)
	if a == b {
		t.Fatalf("both at %s", a)
	}
	_ = first.Process.Signal(syscall.SIGTERM)
	_ = first.Wait()
	if !down(a) || down(b) {
		t.Errorf("first down: %v, second down: %v; want only the first", down(a), down(b))
	}
}
