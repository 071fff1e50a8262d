package brokers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// marker is the environment variable by which a process is known as one that
// this package started, wherever its parents went. Its value is the absolute
// folder of the instance.
const marker = "LEAT_BROKER_FOLDER"

// errEnded reports that a process stopped before it was told to.
var errEnded = errors.New("the process ended by itself")

// command is one program to start.
type command struct {
	path string
	args []string
	env  []string // added to the environment of this process
	dir  string
	log  string // file that takes both outputs, appended
}

// identity tells one process from a later one with the same id. The zero
// value is no process.
type identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks between boot and start
	Boot  string `json:"boot"`  // id of the boot
}

// process is a program that this package started: now (done is set) or in an
// earlier life of the command (done is nil).
type process struct {
	identity

	done chan struct{} // closed after the process was reaped
}

// start runs a program. When bound, the kernel kills it with the calling
// process, however that ends; otherwise it lives in a session of its own and
// survives the caller.
//
// The thread that starts a bound child is locked and kept until the child
// ends, because the kernel takes the end of that thread for the end of the
// parent.
func start(c command, bound bool) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("brokers: start %q: %w", c.path, err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor; nothing was written here

	cmd := exec.Command(c.path, c.args...) //nolint:noctx // it outlives the call on purpose; see Stop and Kill
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), append(c.env, marker+"="+c.dir)...)
	cmd.SysProcAttr = detached(bound)

	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()

		if err := cmd.Start(); err != nil {
			started <- err

			return
		}
		p.identity = identify(cmd.Process.Pid)
		p.PID = cmd.Process.Pid
		started <- nil

		_ = cmd.Wait() // how it ended is in its log; that it ended is all we need
		close(p.done)
	}()

	if err := <-started; err != nil {
		return nil, fmt.Errorf("brokers: start %q: %w", c.path, err)
	}

	return p, nil
}

// running reports whether the process is still there.
func (p *process) running() bool {
	if p.done != nil {
		select {
		case <-p.done:
			return false
		default:
			return true
		}
	}

	return p.alive()
}

// signal sends sig. A process that is gone is not an error, and another one
// that took over its number is never touched.
func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return nil
	}
	if err := sendSignal(p.PID, sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("brokers: signal process %d: %w", p.PID, err)
	}

	return nil
}

// stopped waits until all threads of a process that was sent SIGSTOP stand still.
// Where the system does not tell, it believes so.
func (p *process) stopped(patience time.Duration) bool {
	ask := time.NewTicker(time.Millisecond)
	defer ask.Stop()
	for late := time.After(patience); ; {
		if p.standsStill() {
			return true
		}
		select {
		case <-ask.C:
		case <-late:
			return false
		}
	}
}

func (p *process) standsStill() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID))
	if err != nil {
		return true
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		// "id (name) state ...": the name can have anything in it.
		if rest := string(stat[bytes.LastIndexByte(stat, ')')+1:]); !strings.HasPrefix(rest, " T") {
			return false
		}
	}
	return true
}

// wait returns when the process is gone or ctx ends.
func (p *process) wait(ctx context.Context) error {
	if p.done != nil {
		select {
		case <-p.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}

	return poll(ctx, 10*time.Millisecond, func() error {
		if p.running() {
			return fmt.Errorf("brokers: stop process %d: still running", p.PID)
		}

		return nil
	})
}

// poll calls f until it returns nil, an error that wraps errEnded, or ctx
// ends; then the last error of f is returned with the cause.
func poll(ctx context.Context, every time.Duration, f func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()

	for {
		err := f()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
