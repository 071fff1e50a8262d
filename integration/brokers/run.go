package brokers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// interruptLimit is how long a command has after an interrupt before it is
// killed.
const interruptLimit = 10 * time.Second

// RunCommand starts brokers, runs a command with their addresses in its
// environment, and stops the brokers when it ends, however it ends. It returns
// the command's exit code, or 1 with an error when it could not be run.
//
// What the environment names or [Up] has started is used and left running.
// What is started here belongs to this call alone, on ports of its own, so
// that several calls do not meet; the kernel kills it should this process
// die, and so does it the command. [EnvRequire] is set to the kinds started
// unless it has a value.
//
// When ctx ends the command is interrupted, and killed ten seconds later. Its
// standard input is empty. Processes that it leaves behind are killed.
func RunCommand(ctx context.Context, opts Options, argv []string, stdout, stderr io.Writer) (code int, err error) {
	opts = opts.withDefaults()
	h, err := opts.home()
	if err != nil {
		return 1, err
	}
	folder, err := h.ownFolder("run")
	if err != nil {
		return 1, err
	}

	s := starter{home: h, log: newProgress(opts.Progress), folder: folder}
	defer func() { err = errors.Join(err, s.stopAll()) }()

	vars, err := s.forRun(ctx, opts.Kinds)
	if err != nil {
		return 1, err
	}
	if _, set := os.LookupEnv(EnvRequire); !set {
		vars = append(vars, Var{EnvRequire, joinKinds(opts.Kinds)})
	}

	began := time.Now()
	code, err = runMarked(ctx, folder, argv, vars, stdout, stderr)
	s.log.line("%s: exit code %d after %.1f s", argv[0], code, time.Since(began).Seconds())

	return code, err
}

// forRun starts what a run needs, under the lock: two runs do not install at
// the same time.
func (s *starter) forRun(ctx context.Context, kinds []Kind) ([]Var, error) {
	unlock, err := s.home.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()

	for _, line := range s.home.sweep() {
		s.log.line("%s", line)
	}
	if s.state, err = s.home.readState(); err != nil {
		return nil, err
	}
	if s.set, err = s.home.certs(); err != nil {
		return nil, err
	}

	return s.all(ctx, kinds)
}

// stopAll ends the brokers of a run and whatever its command left behind. The
// logs of the brokers stay, in .brokers/logs, until the next run.
func (s *starter) stopAll() error {
	began := time.Now()
	errs := make([]error, len(s.instances))
	if s.compose != nil {
		errs = append(errs, s.compose.down(context.Background()))
	}

	var wait sync.WaitGroup
	for i, in := range s.instances {
		wait.Go(func() {
			logs := s.home.path("logs")
			_ = os.MkdirAll(logs, 0o755) // a missing log is no failure of the run
			in.saveArchive()
			_ = os.Rename(in.logFile(), filepath.Join(logs, string(in.kind)+".log"))
			errs[i] = in.remove()
		})
	}
	wait.Wait()

	killMarked(s.folder)
	if err := os.RemoveAll(s.folder); err != nil {
		errs = append(errs, fmt.Errorf("brokers: remove folder: %w", err))
	}
	if len(s.instances) > 0 {
		s.log.line("stopped all in %.1f s", time.Since(began).Seconds())
	}

	return errors.Join(errs...)
}

// runMarked runs a command to its end. It carries our marker, and so do its
// children: what it leaves behind can be found.
func runMarked(ctx context.Context, folder string, argv []string, vars []Var, stdout, stderr io.Writer) (int, error) {
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // interrupted first, see below
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append(os.Environ(), marker+"="+filepath.Join(folder, "command"))
	for _, v := range vars {
		cmd.Env = append(cmd.Env, v.String())
	}
	cmd.SysProcAttr = detached(true)
	cmd.WaitDelay = time.Second // children that keep our output open do not hold us

	started, ended := make(chan error, 1), make(chan error, 1)
	go func() { // the thread must outlive the child, see start
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()

		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return 1, fmt.Errorf("brokers: run %q: %w", argv[0], err)
	}

	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = interrupt(cmd.Process.Pid) // gone meanwhile, at worst
		select {
		case err = <-ended:
		case <-time.After(interruptLimit):
			killMarked(folder)
			err = <-ended
		}
	}

	return exitCode(cmd.ProcessState, err, argv[0])
}

// exitCode follows the shells: 128 and the signal's number for a command that
// a signal ended.
func exitCode(state *os.ProcessState, err error, name string) (int, error) {
	if state == nil {
		return 1, fmt.Errorf("brokers: run %q: %w", name, err)
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}

	return state.ExitCode(), nil
}

func joinKinds(kinds []Kind) string {
	words := make([]string, len(kinds))
	for i, kind := range kinds {
		words[i] = string(kind)
	}

	return strings.Join(words, ",")
}
