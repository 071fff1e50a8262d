package brokers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// Down stops the shared brokers that [Up] started, and whatever killed runs
// and test binaries of this checkout left behind. It stops nothing else and
// needs nothing to be running. Data and logs are removed.
func Down(ctx context.Context, opts Options) error {
	opts = opts.withDefaults()
	h, err := opts.home()
	if err != nil {
		return err
	}
	unlock, err := h.lock()
	if err != nil {
		return err
	}
	defer unlock()

	log := newProgress(opts.Progress)
	for _, line := range h.sweep() {
		log.line("%s", line)
	}
	s, err := h.readState()
	if err != nil {
		return err
	}

	var errs []error
	hadProject := s.project()
	for _, kind := range opts.Kinds {
		r, known := s.find(kind)
		if !known {
			r = record{Kind: kind}
		}
		r.Folder = h.path("up", string(kind))
		wasUp := r.alive()
		if r.Project != "" {
			c := compose{file: h.composeFile(), project: r.Project}
			if err := c.down(ctx, string(kind)); err != nil {
				errs = append(errs, err)

				continue
			}
			wasUp = true
		}
		if kind == KindKafka {
			h.adopt(r).saveArchive()
		}
		stopped, err := r.stop(ctx)
		if err != nil {
			errs = append(errs, err)

			continue
		}
		s = s.without(kind)
		if len(r.Vars) > 0 { // a shell may still have them; see starter.present
			s = s.with(record{Kind: kind, Vars: r.Vars})
		}
		if stopped || wasUp {
			log.line("%s: stopped", kind)
		} else {
			log.line("%s: was not up", kind)
		}
	}

	errs = append(errs, h.writeState(s))
	if project := s.project(); hadProject != "" && project == "" {
		// The last of its containers is gone; network and volumes follow.
		errs = append(errs, compose{file: h.composeFile(), project: hadProject}.down(ctx))
	}

	return errors.Join(errs...)
}

// adopt makes an instance of a Kafka that an earlier command started, for a
// clean stop.
func (h home) adopt(r record) *Instance {
	in := &Instance{kind: r.Kind, srv: kafka{libs: h.kafkaLibs()}, folder: r.Folder}
	for _, id := range r.Processes {
		in.procs = append(in.procs, &process{identity: id})
	}

	return in
}

// stop kills the processes of a record and everything that carries the mark
// of its folder, waits until they are gone, and removes the folder. Killing
// loses nothing here: the folder goes too.
func (r record) stop(ctx context.Context) (found bool, err error) {
	ids := marked(r.Folder)
	for _, id := range r.Processes {
		if id.alive() && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}

	// Half a stop would be worse than one that ignores an impatient caller.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()

	for _, id := range ids {
		p := process{identity: id}
		if err := p.signal(syscall.SIGKILL); err != nil {
			return true, err
		}
		if err := p.wait(ctx); err != nil {
			return true, err
		}
	}
	if err := os.RemoveAll(r.Folder); err != nil {
		return len(ids) > 0, fmt.Errorf("brokers: remove folder: %w", err)
	}

	return len(ids) > 0, nil
}

// Status is what is known of one shared broker.
type Status struct {
	Kind    Kind
	Up      bool      // it runs and answers
	Err     error     // why it does not answer; nil when it was never started
	Given   bool      // its address comes from the environment
	PIDs    []int     // of the broker and its helpers
	Started time.Time // zero when unknown
	Vars    []Var
}

// Statuses asks each shared broker whether it answers. It starts and stops
// nothing.
func Statuses(ctx context.Context, opts Options) ([]Status, error) {
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

	s, err := h.readState()
	if err != nil {
		return nil, err
	}
	set, err := h.certs()
	if err != nil {
		return nil, err
	}

	var list []Status
	for _, kind := range opts.Kinds {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		r, _ := s.find(kind)
		st := Status{Kind: kind, Vars: r.Vars, Started: r.Started}
		for _, id := range r.Processes {
			st.PIDs = append(st.PIDs, id.PID)
		}
		if vars := given(kind); vars != nil && !r.has(vars[0]) {
			st = Status{Kind: kind, Given: true, Vars: vars}
			st.Err = answers(ctx, kind, vars, nil)
			st.Up = st.Err == nil
		} else if len(r.Processes) > 0 || r.Project != "" {
			st.Err = answers(ctx, kind, r.Vars, set)
			st.Up = st.Err == nil
		}
		cancel()
		list = append(list, st)
	}

	return list, nil
}
