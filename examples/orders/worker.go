package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// serve is the run with -worker: it handles events until stdin ends, or
// interrupt does, then drains. It returns the exit code.
func (p *program) serve(interrupt context.Context, b backend, stdin io.Reader) int {
	// When the process that reads the notes is killed, this one drains.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)

	notes := &notebook{to: p.console.out}
	record := func(event, handler string) { notes.write(note{Event: event, Handler: handler}) }
	if err := p.open(interrupt, b, record); err != nil {
		fmt.Fprintln(p.console.err, "cannot start:", err)
		return 1
	}
	told, stop := context.WithCancel(interrupt)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // its end is all that is told
		stop()
	}()
	ended := make(chan error, 1)
	go func() { ended <- p.bus.Run(context.WithoutCancel(told)) }()
	select {
	case <-p.bus.Running():
		notes.write(note{Consumer: p.consumer, Process: os.Getpid()})
	case <-told.Done():
	case err := <-ended:
		ended <- err
	}
	select {
	case <-told.Done():
	case err := <-ended: // before its time
		ended <- err
	}
	drained, err := p.bus.Shutdown(context.WithoutCancel(told))
	err = errors.Join(err, <-ended, p.closeBus())
	notes.write(note{Final: &final{Stats: p.bus.Stats(), Handlers: p.bus.HandlerStats(), Outcome: p.handlers.outcome(), Drained: drained}})
	if err != nil {
		fmt.Fprintln(p.console.err, "worker:", err)
		return 1
	}
	return 0
}
