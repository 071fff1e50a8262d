//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/integration/brokers"
)

// spawn starts the program as a process.
func spawn(t *testing.T, args ...string) (cmd *exec.Cmd, stdin io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, stdin, bufio.NewReader(stdout)
}

func TestWorker_DrainsOnASignal(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, _, out := spawn(t, append(ownTopic(t, "redis", brokers.Redis(t)), "-worker")...)
			hello, err := out.ReadString('\n')
			if err != nil || !strings.HasPrefix(hello, `{"consumer":"orders-`) {
				t.Fatalf("got %q, %v", hello, err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			var n note
			if err := json.Unmarshal(rest, &n); err != nil || n.Final == nil || bytes.Count(rest, []byte("\n")) != 1 {
				t.Errorf("got %q, %v, want its statistics as one line", rest, err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWorkers_EndWithTheProcessThatStartedThem(t *testing.T) {
	t.Parallel()
	cmd, _, out := spawn(t, append(ownTopic(t, "redis", brokers.Redis(t)), "-workers=1", "-input=-")...)
	pid := workerOf(t, out)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	within(t, time.Minute, "the worker's end", func() bool {
		line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline") // empty while nobody has asked for its end
		return err != nil || len(line) == 0
	})
}

// A terminal sends Ctrl-C to all processes of the group: not to the workers,
// which go on while the program finishes.
func TestWorkers_CtrlC(t *testing.T) {
	t.Parallel()
	cmd, stdin, out := spawn(t, append(ownTopic(t, "redis", brokers.Redis(t)), "-workers=1", "-input=-")...)
	for i := range 50 {
		if _, err := io.WriteString(stdin, `{"command":"create","order":"o-`+strconv.Itoa(i)+`","customer":"Ann"}`+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	pid := workerOf(t, out)
	mine, err := syscall.Getpgid(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if its, err := syscall.Getpgid(pid); err != nil || its == mine {
		t.Errorf("the worker is in group %d, the program in %d, %v", its, mine, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("ended with %v, want exit code 130", cmd.ProcessState)
	}
	wantAll(t, "the output", string(rest), "Check: all ", " accepted events were handled exactly once ")
	if _, _, end := share(t, string(rest), "worker 1"); end != "drained" {
		t.Errorf("worker 1: %s", end)
	}
}

// workerOf reads the process id of the first worker from the program's output.
func workerOf(t *testing.T, out *bufio.Reader) int {
	t.Helper()
	for {
		l, err := out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if said := regexp.MustCompile(`worker 1: process (\d+), `).FindStringSubmatch(l); said != nil {
			return number(t, said[1])
		}
	}
}
