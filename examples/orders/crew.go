package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/leat-go/leat/router"
)

// crew are the worker processes of this run.
type crew []*member

// member is one of them. What listen sets may be read once done is closed;
// consumer and process once ready is.
type member struct {
	name     string
	index    int // in the tally, where 0 is this process
	cmd      *exec.Cmd
	stdin    io.Closer
	ready    chan struct{} // it consumes
	done     chan struct{} // it has ended, and all that it wrote was read
	tally    *tally
	console  *console
	takeover time.Duration // see backend

	consumer string
	process  int
	final    *final // nil: it could not say goodbye
	end      string
}

// hire starts the workers and returns when all consume.
func (p *program) hire(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil && p.opt.workers > 0 {
		return fmt.Errorf("start workers: %w", err)
	}
	args := append([]string{"-worker"}, p.opt.forWorkers...)
	for i := 1; i <= p.opt.workers; i++ {
		m, err := p.start(ctx, i, self, args)
		if err != nil {
			return fmt.Errorf("start worker %d: %w", i, err)
		}
		p.crew = append(p.crew, m)
	}
	late := time.After(30 * time.Second)
	for _, m := range p.crew {
		select {
		case <-m.ready:
			p.console.print("  %s: process %d, consumer %s\n", m.name, m.process, m.consumer)
		case <-m.done:
			return fmt.Errorf("%s ended at once: %s", m.name, m.end)
		case <-late:
			return fmt.Errorf("%s is not ready after 30 s", m.name)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if len(p.crew) > 0 {
		p.console.print("\n")
	}
	return nil
}

func (p *program) start(ctx context.Context, i int, self string, args []string) (*member, error) {
	m := &member{
		name: "worker " + strconv.Itoa(i), index: i, ready: make(chan struct{}), done: make(chan struct{}),
		tally: p.tally, console: p.console, takeover: p.takeover,
	}
	m.cmd = exec.CommandContext(context.WithoutCancel(ctx), self, args...) // stop ends it, not a signal
	m.cmd.SysProcAttr = ownGroup()
	m.cmd.Stderr = &prefixed{console: p.console, prefix: m.name + ": "}
	stdin, err := m.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.stdin = stdin
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go m.listen(stdout)
	return m, nil
}

// listen reads what the worker writes until it ends.
func (m *member) listen(stdout io.Reader) {
	defer close(m.done)
	notes := json.NewDecoder(stdout)
	for {
		var n note
		if err := notes.Decode(&n); err != nil {
			break // the end; a kill can leave half a line
		}
		switch {
		case n.Final != nil:
			m.final = n.Final
		case n.Event != "":
			m.tally.handled(m.index, n.Event, n.Handler)
		case m.consumer == "":
			m.consumer, m.process = n.Consumer, n.Process
			close(m.ready)
		}
	}
	_, _ = io.Copy(io.Discard, stdout) // should it write on
	_ = m.cmd.Wait()                   // the state tells
	m.end = m.cmd.ProcessState.String()
	if m.final != nil && m.cmd.ProcessState.Success() {
		m.end = "drained"
		return
	}
	m.tally.crashed(m.index)
	if m.consumer != "" {
		when := "at once"
		if m.takeover > 0 {
			when = fmt.Sprintf("in about %v", m.takeover)
		}
		m.console.tell("%s (process %d) has ended before its time: %s; what it had begun comes to the others %s", m.name, m.process, m.end, when)
	}
}

// dismiss ends the workers and waits for what the crashed ones had begun. It
// returns the group's other consumers that took part in the run, if the group has
// acknowledged everything.
func (p *program) dismiss(ctx context.Context) (others []string) {
	p.crew.stop()
	if _, _, crashes := p.tally.state(); crashes > p.awaited {
		if err := p.settle(ctx); err != nil {
			p.console.tell("%v", err)
		}
	}
	if p.group == nil {
		return nil
	}
	if n, err := p.group.unsettled(ctx); err != nil || n != 0 {
		return nil
	}
	names, err := p.group.active(ctx, time.Since(p.begun))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return name == p.consumer || slices.ContainsFunc(p.crew, func(m *member) bool { return m.consumer == name })
	})
}

// stop lets the workers drain, and returns when all have ended. Those that do
// not end in good time are killed.
func (c crew) stop() {
	for _, m := range c {
		_ = m.stdin.Close() // it may be gone already
	}
	late := time.After(router.DefaultDrainTimeout + 5*time.Second)
	for _, m := range c {
		select {
		case <-m.done:
		case <-late:
			for _, m := range c {
				_ = m.cmd.Process.Kill() // it may be gone already
			}
			late = nil
			<-m.done
		}
	}
}

// prefixed passes a worker's standard error on, line by line.
type prefixed struct {
	console *console
	prefix  string
	rest    []byte
}

// Write is called by one goroutine.
func (w *prefixed) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.console.tell("%s%s", w.prefix, line)
		w.rest = rest
	}
}
