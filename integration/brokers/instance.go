package brokers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leat-go/leat/integration/certs"
)

const (
	// startLimit bounds one start, downloads not included. Kafka and RabbitMQ
	// need a few seconds each; a machine under load several times that.
	startLimit = 90 * time.Second
	// stopLimit is how long a broker may take for a clean end before Stop
	// kills it and says so.
	stopLimit = 30 * time.Second
)

// server is what differs between the products.
type server interface {
	// ports names the ports that it listens on; the first is the plain one.
	ports() []string
	// prepare writes configuration and data folder of a first start.
	prepare(ctx context.Context, in *Instance) error
	// commands returns the programs to start, in order; the last is the
	// broker itself.
	commands(in *Instance) []command
	// certificate names the one that the TLS listener presents.
	certificate() string
	// vars returns the addresses as environment variables, the plain one first.
	vars(in *Instance) []Var
}

// Instance is one broker that this process started and may stop, pause and
// kill at will. Data and ports stay the same over all of that. Its methods
// may be called from many goroutines; they take turns.
type Instance struct {
	kind   Kind
	srv    server
	folder string // data, configuration, logs
	set    *certs.Set
	bound  bool // dies with this process

	ports map[string]*port

	mu    sync.Mutex
	procs []*process
}

// newInstance prepares a broker in a folder of its own, without starting it.
// Ports that prefer does not name are chosen.
func newInstance(ctx context.Context, srv server, kind Kind, folder string, set *certs.Set, bound bool, prefer map[string]int) (*Instance, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("brokers: make %s: %w", kind, err)
	}
	in := &Instance{kind: kind, srv: srv, folder: folder, set: set, bound: bound, ports: map[string]*port{}}
	for _, name := range srv.ports() {
		p, err := pickPort(prefer[name])
		if err != nil {
			in.release()

			return nil, err
		}
		in.ports[name] = p
	}
	if err := srv.prepare(ctx, in); err != nil {
		in.release()

		return nil, err
	}

	return in, nil
}

func pickPort(prefer int) (*port, error) {
	if prefer != 0 {
		if p, err := holdPort(prefer); err == nil {
			return p, nil
		}
	}

	return freePort()
}

// Kind returns the product.
func (in *Instance) Kind() Kind { return in.kind }

// Addr returns host:port of the plain listener, for a proxy to aim at.
func (in *Instance) Addr() string { return in.listener(in.srv.ports()[0]) }

// TLSAddr returns host:port of the TLS listener.
func (in *Instance) TLSAddr() string { return in.listener(portTLS) }

// URL returns what the plain variable of the shared broker would hold: a URL
// for Redis and RabbitMQ, host:port for Kafka.
func (in *Instance) URL() string { return in.srv.vars(in)[0].Value }

// Value returns the instance's own value for one of the Env constants, such
// as [EnvRedisACLURL], or "" for a variable of another broker.
func (in *Instance) Value(name string) string { return lookup(in.srv.vars(in), name) }

// Certs returns the certificates behind the TLS listeners.
func (in *Instance) Certs() *certs.Set { return in.set }

// Folder returns where configuration, data and logs are.
func (in *Instance) Folder() string { return in.folder }

// PID returns the process id of the broker, 0 while it is down.
func (in *Instance) PID() int {
	in.mu.Lock()
	defer in.mu.Unlock()

	if len(in.procs) == 0 || !in.main().running() {
		return 0
	}

	return in.main().PID
}

// Start starts a broker that is down (after [Instance.Stop] or
// [Instance.Kill]) with its old data and waits until it answers. It does
// nothing when the broker runs.
func (in *Instance) Start(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()

	return in.start(ctx)
}

func (in *Instance) start(ctx context.Context) error {
	if len(in.procs) > 0 && in.main().running() {
		return nil
	}
	in.kill() // helpers that outlived their broker

	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("gave up after %v", startLimit))
	defer cancel()

	for _, c := range in.srv.commands(in) {
		p, err := start(c, in.bound)
		if err != nil {
			in.kill()

			return err
		}
		in.procs = append(in.procs, p)
	}

	err := poll(ctx, 20*time.Millisecond, func() error {
		if !in.main().running() {
			return errEnded
		}
		probe, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()

		return in.answers(probe)
	})
	if err != nil {
		in.kill()

		return fmt.Errorf("brokers: start %s in %s: %w%s", in.kind, in.folder, err, in.logTail())
	}

	return nil
}

// answers asks every listener once. A TLS listener whose certificate no client
// is to accept is not asked.
func (in *Instance) answers(ctx context.Context) error {
	var trust *certs.Set
	if in.srv.certificate() == certs.Server {
		trust = in.set
	}

	return answers(ctx, in.kind, in.srv.vars(in), trust)
}

// Stop ends the broker the way an operator would (SIGTERM) and waits until it
// is gone. A broker that does not end within thirty seconds, or before ctx
// ends, is killed and an error says so. Stop on a broker that is down does
// nothing.
func (in *Instance) Stop(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()

	return in.stop(ctx)
}

func (in *Instance) stop(ctx context.Context) error {
	defer in.kill()
	if len(in.procs) == 0 {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()

	broker := in.main()
	if err := errors.Join(broker.signal(sigCont), broker.signal(syscall.SIGTERM)); err != nil {
		return err
	}
	if err := broker.wait(ctx); err != nil {
		return fmt.Errorf("brokers: stop %s: killed, it did not end by itself: %w", in.kind, err)
	}

	return nil
}

// Restart is Stop and Start: same data, same ports.
func (in *Instance) Restart(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()

	if err := in.stop(ctx); err != nil {
		return err
	}

	return in.start(ctx)
}

// Kill ends the broker with SIGKILL, as a crash would, and returns when it is
// gone. Start brings it back.
func (in *Instance) Kill() error {
	in.mu.Lock()
	defer in.mu.Unlock()

	in.kill()

	return nil
}

// Pause freezes the broker with SIGSTOP: connections stay open, new ones are
// accepted by the kernel, nothing answers until [Instance.Resume].
func (in *Instance) Pause() error {
	if err := in.signal(sigStop); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.main().stopped(stopPatience) {
		return fmt.Errorf("brokers: pause %s: its threads did not stop in %v", in.kind, stopPatience)
	}
	return nil
}

// stopPatience is how long a process has to stop: the kernel stops its threads
// one by one.
const stopPatience = 10 * time.Second

// Resume ends a Pause.
func (in *Instance) Resume() error { return in.signal(sigCont) }

func (in *Instance) signal(sig syscall.Signal) error {
	in.mu.Lock()
	defer in.mu.Unlock()

	if len(in.procs) == 0 || !in.main().running() {
		return fmt.Errorf("brokers: signal %s: %w", in.kind, errDown)
	}

	return in.main().signal(sig)
}

var errDown = errors.New("it is not running")

// kill ends all processes and waits for them: what got SIGKILL does not stay.
func (in *Instance) kill() {
	for _, p := range in.procs {
		_ = p.signal(syscall.SIGKILL)
	}
	killMarked(in.folder) // children of the broker
	for _, p := range in.procs {
		_ = p.wait(context.Background())
	}
	in.procs = nil
}

// remove kills the broker, gives its ports back and deletes its folder.
func (in *Instance) remove() error {
	in.mu.Lock()
	defer in.mu.Unlock()

	in.kill()
	in.release()
	if err := os.RemoveAll(in.folder); err != nil {
		return fmt.Errorf("brokers: remove %s: %w", in.kind, err)
	}

	return nil
}

func (in *Instance) release() {
	for _, p := range in.ports {
		p.release()
	}
}

func (in *Instance) main() *process { return in.procs[len(in.procs)-1] }

// listener returns host:port of a named port, "" when the product has none of
// that name.
func (in *Instance) listener(name string) string {
	p, ok := in.ports[name]
	if !ok {
		return ""
	}

	return loopback(p.number)
}

func (in *Instance) file(name string) string { return filepath.Join(in.folder, name) }

func (in *Instance) logFile() string { return in.file("broker.log") }

// logTail returns the last lines of the broker's output, for an error.
func (in *Instance) logTail() string {
	text, err := os.ReadFile(in.logFile())
	if err != nil || len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	const last = 15
	if len(lines) > last {
		lines = lines[len(lines)-last:]
	}

	return "; the end of " + in.logFile() + ":\n\t" + strings.Join(lines, "\n\t")
}
