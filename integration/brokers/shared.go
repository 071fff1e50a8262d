package brokers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/leat-go/leat/integration/certs"
)

// Options say which brokers and how.
type Options struct {
	// Kinds are the brokers meant; empty means all.
	Kinds []Kind
	// Folder is the .brokers folder to work in; empty means the one of the
	// checkout that the working directory is in.
	Folder string
	// Progress takes one line for each thing done, with its time; nil
	// discards them.
	Progress io.Writer
}

func (o Options) withDefaults() Options {
	if len(o.Kinds) == 0 {
		o.Kinds = Kinds()
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}

	return o
}

func (o Options) home() (home, error) {
	if o.Folder != "" {
		return openHome(o.Folder)
	}

	return findHome()
}

// preferred are the ports of the shared set: the same after each start, so
// that a shell keeps its variables. One that is taken is replaced.
func preferred(kind Kind) map[string]int {
	switch kind {
	case KindRedis:
		return map[string]int{portPlain: 21379, portTLS: 21380}
	case KindRabbit:
		return map[string]int{portPlain: 21672, portTLS: 21671, portManagement: 21673, portDist: 21674, portEpmd: 21675}
	case KindKafka:
		return map[string]int{portPlain: 21092, portTLS: 21093, portSASL: 21094, portMTLS: 21095, portController: 21096}
	default:
		return nil
	}
}

// Up makes the shared brokers run and answer, and returns their addresses. It
// installs what is missing, keeps what already runs, starts afresh what does
// not answer, and uses an address that the environment gives as it is. The
// brokers live until [Down]. It blocks until all answer; several calls, in
// one process or many, take turns.
//
// When one broker cannot be had the others are started all the same, and the
// addresses of those are returned with the error.
func Up(ctx context.Context, opts Options) ([]Var, error) {
	opts = opts.withDefaults()
	h, err := opts.home()
	if err != nil {
		return nil, err
	}
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()

	log := newProgress(opts.Progress)
	for _, line := range h.sweep() {
		log.line("%s", line)
	}
	old, err := h.readState()
	if err != nil {
		return nil, err
	}
	set, err := h.certs()
	if err != nil {
		return nil, err
	}

	s := starter{home: h, set: set, log: log, shared: true, state: old}

	return s.all(ctx, opts.Kinds)
}

// starter brings up a set of brokers: the shared one or that of a run.
type starter struct {
	home   home
	set    *certs.Set
	log    *progress
	shared bool   // brokers survive this process and are written to the state
	folder string // of a run; the shared set has its own

	mu        sync.Mutex
	state     state
	instances []*Instance
	compose   *compose // of a run whose brokers are containers
}

// all returns the variables of every kind that answers, in order, and one
// error for each that does not.
func (s *starter) all(ctx context.Context, kinds []Kind) ([]Var, error) {
	var (
		vars    = make(map[Kind][]Var)
		errs    []error
		missing []Kind
	)
	for _, kind := range kinds {
		found, err := s.present(ctx, kind)
		switch {
		case err != nil:
			errs = append(errs, err)
		case found != nil:
			vars[kind] = found
		default:
			missing = append(missing, kind)
		}
	}

	started, err := s.start(ctx, missing)
	errs = append(errs, err)

	var ordered []Var
	for _, kind := range kinds {
		ordered = append(ordered, vars[kind]...)
		ordered = append(ordered, started[kind]...)
	}
	if len(ordered) > 0 {
		dir := s.set.Dir()
		if given := os.Getenv(EnvCertsDir); given != "" {
			dir = given
		}
		ordered = append(ordered, Var{EnvCertsDir, dir})
	}

	return ordered, errors.Join(errs...)
}

// present returns the variables of a broker that needs no start: one that the
// environment names, or one of the shared set that answers. It returns nil
// when there is none, and an error when the environment names one that does
// not answer: nobody else may be started in its place.
func (s *starter) present(ctx context.Context, kind Kind) ([]Var, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()

	// A shell keeps the variables of an earlier Up: an address that was ours
	// is not one that somebody else gives.
	r, known := s.state.find(kind)
	if vars := given(kind); vars != nil && !r.has(vars[0]) {
		if err := answers(ctx, kind, vars, nil); err != nil {
			return nil, fmt.Errorf("brokers: use %s: it does not answer (start that server, or unset the variable): %w", vars[0].Name, err)
		}
		s.log.line("%s: the one that %s names", kind, vars[0].Name)

		return vars, nil
	}
	if !known {
		return nil, nil
	}

	if r.Project == "" && !r.alive() {
		return nil, nil
	}
	if err := answers(ctx, kind, r.Vars, s.set); err != nil {
		s.log.line("%s: runs but does not answer, starting it afresh: %v", kind, err)

		return nil, nil
	}
	s.log.line("%s: already up", kind)

	return r.Vars, nil
}

// start starts brokers: as containers where a Docker engine answers, natively
// and side by side where not, after installing what is missing.
func (s *starter) start(ctx context.Context, kinds []Kind) (map[Kind][]Var, error) {
	if len(kinds) == 0 {
		return nil, nil
	}
	if s.home.docker(ctx) {
		return s.startDocker(ctx, kinds)
	}
	if err := native(); err != nil {
		return nil, err
	}

	var (
		wait sync.WaitGroup
		vars = make(map[Kind][]Var)
		errs = make([]error, len(kinds))
	)
	install := newInstaller(s.home, s.log)
	for i, kind := range kinds {
		wait.Go(func() {
			if err := install.ensure(ctx, kind, kinds); err != nil {
				errs[i] = err

				return
			}
			found, err := s.startOne(ctx, kind)
			if err != nil {
				errs[i] = err

				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			vars[kind] = found
		})
	}
	wait.Wait()

	return vars, errors.Join(errs...)
}

// startOne starts a broker on an empty folder. Another port is tried when one
// was taken between the look and the start.
func (s *starter) startOne(ctx context.Context, kind Kind) ([]Var, error) {
	began := time.Now()
	folder := s.folder
	prefer := map[string]int(nil)
	if s.shared {
		folder, prefer = s.home.path("up"), preferred(kind)
	}
	folder = home{folder}.path(string(kind))

	var in *Instance
	for attempt := 1; ; attempt++ {
		killMarked(folder)
		if err := os.RemoveAll(folder); err != nil {
			return nil, fmt.Errorf("brokers: start %s: %w", kind, err)
		}
		var err error
		in, err = newInstance(ctx, sharedServer(kind, s.home), kind, folder, s.set, !s.shared, prefer)
		if err != nil {
			return nil, err
		}
		if err = in.Start(ctx); err == nil {
			break
		}
		in.release()
		if attempt == startAttempts || !errors.Is(err, errEnded) {
			return nil, err
		}
		s.log.line("%s: trying once more: %v", kind, err)
		prefer = nil
	}
	s.log.line("%s: up in %.1f s, %s", kind, time.Since(began).Seconds(), in.Addr())

	return s.keep(in)
}

const startAttempts = 2

// keep remembers a broker that was started.
func (s *starter) keep(in *Instance) ([]Var, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	vars := in.srv.vars(in)
	s.instances = append(s.instances, in)
	if !s.shared {
		return vars, nil
	}

	r := record{Kind: in.kind, Folder: in.folder, Vars: vars, Started: time.Now().UTC().Truncate(time.Second)}
	for _, p := range in.procs {
		r.Processes = append(r.Processes, p.identity)
	}
	s.state = s.state.with(r)

	return vars, s.home.writeState(s.state)
}

// sharedServer returns a product as the shared set and runs have it.
func sharedServer(kind Kind, h home) server {
	switch kind {
	case KindRedis:
		// Nobody restarts a shared Redis, so nothing needs to be on disk; what
		// a fault test kills is an instance of its own.
		return redis{RedisOptions{Fsync: NoAppendOnly}}
	case KindRabbit:
		return rabbit{}
	case KindKafka:
		return kafka{libs: h.kafkaLibs()}
	default:
		return nil
	}
}
