package brokers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// detached returns the attributes of a child: its own session, so that a
// Ctrl-C on the terminal does not reach it, and, when bound, a SIGKILL from
// the kernel as soon as its parent is gone.
func detached(bound bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if bound {
		attr.Pdeathsig = syscall.SIGKILL
	}

	return attr
}

func sendSignal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	} else if err != nil {
		return fmt.Errorf("kill: %w", err)
	}

	return nil
}

// interrupt sends SIGINT to a child and its process group, as a terminal does.
func interrupt(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) }

// identify reads who has the process id now; the zero identity when nobody.
func identify(pid int) identity {
	state, start, ok := stat(pid)
	if !ok || state == 'X' || (state == 'Z' && threads(pid) <= 1) {
		return identity{}
	}

	return identity{PID: pid, Start: start, Boot: bootID()}
}

// alive reports whether the very same process still runs.
func (id identity) alive() bool { return id.PID > 0 && identify(id.PID) == id }

// stat reads state and start time of a process. The name in the second field
// may contain spaces and parentheses: what follows the last one is parsed.
func stat(pid int) (state byte, start uint64, ok bool) {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, 0, false
	}

	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return 0, 0, false
	}
	fields := strings.Fields(string(line[end+1:])) // from field 3 on
	const startField = 22 - 3
	if len(fields) <= startField {
		return 0, 0, false
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return 0, 0, false
	}

	return fields[0][0], start, true
}

// threads counts the threads of a process. The first one may have ended while
// others still hold its ports and files.
func threads(pid int) int {
	tasks, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil {
		return 0
	}

	return len(tasks)
}

func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}

	return strings.TrimSpace(string(id))
}

// marked finds the living processes that carry our marker with a folder at
// or under dir, children of brokers included. Processes of other users are
// not readable and not ours.
func marked(dir string) []identity {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}

	var found []identity
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err != nil || !carries(environ, dir) {
			continue
		}
		if id := identify(pid); id.PID != 0 {
			found = append(found, id)
		}
	}

	return found
}

func carries(environ []byte, dir string) bool {
	for pair := range bytes.SplitSeq(environ, []byte{0}) {
		folder, ok := strings.CutPrefix(string(pair), marker+"=")
		if ok && (folder == dir || strings.HasPrefix(folder, dir+string(filepath.Separator))) {
			return true
		}
	}

	return false
}

// lockFile takes an exclusive lock that ends with the process or the file's
// Close. With wait false it fails at once when somebody else has it.
func lockFile(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err //nolint:wrapcheck // the caller says what the lock is for
		}
	}
}

// Signals that not every system has.
const (
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)

// native reports whether brokers can be started without Docker here.
func native() error { return nil }
