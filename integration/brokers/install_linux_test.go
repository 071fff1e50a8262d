package brokers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// programs makes a folder for PATH with stand-ins of the given names.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}

	return dir
}

// The script of the checkout installs as root or with sudo, and says one
// sentence where it cannot.
func TestDebianScript_SaysInOneSentenceWhatItCannotDo(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	for what, c := range map[string]struct {
		programs map[string]string
		code     int
		says     string
	}{
		"no Debian":            {map[string]string{"id": "echo 0"}, 1, ".ci/debian: no apt-get here; install by hand: a b\n"},
		"no root, no sudo":     {map[string]string{"id": "echo 1000", "apt-get": "exit 1"}, 1, ".ci/debian: neither root nor sudo; install by hand: a b\n"},
		"sudo":                 {map[string]string{"id": "echo 1000", "apt-get": "exit 1", "sudo": `echo "sudo: $*" >>"$0.calls"`}, 0, "sudo: -n env DEBIAN_FRONTEND=noninteractive apt-get -qq"},
		"sudo that may not":    {map[string]string{"id": "echo 1000", "apt-get": "exit 1", "sudo": `echo "sudo: no" >&2; exit 1`}, 1, "sudo: no"},
		"root":                 {map[string]string{"id": "echo 0", "apt-get": "exit 1", "env": `shift; echo "env: $*" >>"$0.calls"`}, 0, "env: apt-get -qq"},
		"root, lists outdated": {map[string]string{"id": "echo 0", "apt-get": "exit 1", "env": `case "$*" in *update*) touch "$0.updated" ;; esac; [ -e "$0.updated" ]`, "touch": `: >"$1"`}, 0, "installing a b"},
	} {
		cmd := exec.Command(bash, "../../.ci/debian", "a", "b")
		path := programs(t, c.programs)
		cmd.Env = []string{"PATH=" + path}
		var out strings.Builder
		cmd.Stderr = &out
		_ = cmd.Run() // the code tells
		for _, name := range []string{"sudo", "env"} {
			calls, _ := os.ReadFile(filepath.Join(path, name+".calls")) // none, mostly
			out.Write(calls)
		}
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: code %d, says %q; want %d, %q", what, code, out.String(), c.code, c.says)
		}
	}
}

// Somebody who is not root and has no sudo is told what to type.
func TestInstall_WithoutRights(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	dir, err := os.MkdirTemp("", "leat-install-") //nolint:usetesting // where t.TempDir is, nobody else may look
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const nobody = 65534
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "test")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, program} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "apt-get"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Dir = dir
	cmd.Env = []string{helperEnv + "=install", "FOLDER=" + filepath.Join(dir, ".brokers"), "PATH=" + bin, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("installed: %s", out)
	}
	for _, want := range []string{"get it with `sudo apt-get install redis-server`", "not root, and no sudo"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it says %q, want %q in it", out, want)
		}
	}
}
