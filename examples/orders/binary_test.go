package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestBinary_CtrlC sends the real program a real signal, while it waits for a
// standard input that does not end.
func TestBinary_CtrlC(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no SIGINT to send on Windows")
	}
	binary := filepath.Join(t.TempDir(), "orders")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-input=-")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, `{"command":"create","order":"o-1","customer":"Ann"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	head, err := out.ReadString('\n') // it runs
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the code says it
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signaled() || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("ended with %v, want exit code 130", cmd.ProcessState)
	}
	wantAll(t, "standard error", stderr.String(), "Interrupted: ")
	wantAll(t, "the output", head+string(rest), "Orders over the in-memory bus", "Check: all ")
	if strings.Contains(stderr.String(), "\x1b") {
		t.Errorf("standard error is no terminal and gets %q", stderr.String())
	}
}
