package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/leat-go/leat/eventbus/aggregate"
)

// input carries out the commands of a file, and counts.
type input struct {
	shop    *shop
	console *console
	opt     options
	name    string // for messages
	begun   time.Time
	took    time.Duration

	lines, accepted, refused atomic.Int64
}

// read carries out the commands of the input.
func (p *program) read(ctx context.Context, stdin io.Reader) error {
	in := &input{shop: p.shop, console: p.console, opt: p.opt, name: "standard input", begun: time.Now()}
	if p.opt.input != "-" {
		f, err := os.Open(p.opt.input)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		in.name, stdin = p.opt.input, f
	}
	p.input = in
	defer func() { in.took = time.Since(in.begun) }()
	defer p.console.progress(func() string {
		_, runs := p.tally.counts()
		return fmt.Sprintf("%s lines read, %s commands accepted, %s refused, %s handler runs, %.1f s",
			thousands(in.lines.Load()), thousands(in.accepted.Load()), thousands(in.refused.Load()), thousands(runs), time.Since(in.begun).Seconds())
	})()
	if err := in.run(ctx, stdin); err != nil {
		return err
	}
	return p.settle(ctx)
}

// summary tells what came of the input, when all is over.
func (p *program) summary(o outcome, without string) {
	if p.input == nil {
		return
	}
	in := p.input
	events, _ := p.tally.counts()
	p.console.print("Read %s lines of %s in %.1f s: %s commands accepted, %s refused, %s events published.\n\nWhat the handlers made of them%s\n\n",
		thousands(in.lines.Load()), in.name, in.took.Seconds(), thousands(in.accepted.Load()), thousands(in.refused.Load()), thousands(events), without)
	made(p.console.out, o)
}

// run reads commands until the input or ctx ends. Commands of one order are
// carried out in the order of the lines; of different orders at once, if
// -concurrency allows. What is begun is finished: a command does not end with
// ctx. The error is that of the input itself, or of a bus that is away.
func (in *input) run(ctx context.Context, r io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := context.WithoutCancel(ctx)
	lanes := make([]chan line, in.opt.concurrency)
	var workers sync.WaitGroup
	for i := range lanes {
		lanes[i] = make(chan line, 16)
		workers.Go(func() {
			for l := range lanes[i] {
				if err := in.carryOut(work, l); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := in.distribute(ctx, readLines(ctx, r), lanes)
	for _, lane := range lanes {
		close(lane)
	}
	workers.Wait()
	if err == nil {
		err = context.Cause(ctx) // of a worker, when the lines were through already
	}
	return err
}

// distribute gives each line to the worker of its order.
func (in *input) distribute(ctx context.Context, lines <-chan line, lanes []chan line) error {
	seed := maphash.MakeSeed()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case l, more := <-lines:
			if !more {
				return nil
			}
			if l.number == 0 {
				return l.err
			}
			in.lines.Store(int64(l.number))
			if l.err == nil {
				l.command, l.err = decode(l.text)
			}
			select { // refused ones too, so that one worker tells them by number
			case lanes[maphash.String(seed, l.command.Order)%uint64(len(lanes))] <- l:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// carryOut does one command and counts it. An error ends the run: the bus is
// away.
func (in *input) carryOut(ctx context.Context, l line) (away error) {
	if l.err == nil {
		l.err = in.shop.do(ctx, l.command)
	}
	if lost := (*aggregate.UnpublishedError)(nil); errors.As(l.err, &lost) {
		// The command is done, its events are not out yet.
		in.console.tell("line %d: saved, but not published: %v; trying again", l.number, lost.Err)
		l.err = nil
		if err := in.shop.publishPending(ctx, in.opt.patience); err != nil {
			away = fmt.Errorf("the bus takes no events: %w", err)
		}
	}
	if l.err == nil {
		in.accepted.Add(1)
	} else {
		in.refused.Add(1)
		in.console.tell("line %d: %v", l.number, l.err)
	}
	return away
}

// decode reads a command strictly: a misspelt field is an error, not a zero.
func decode(text []byte) (c command, err error) {
	if !utf8.Valid(text) {
		return c, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		bad := (*json.UnmarshalTypeError)(nil)
		switch {
		case errors.As(err, &bad) && bad.Field == "":
			return c, fmt.Errorf("not a command: it must be a JSON object, not %s", bad.Value)
		case errors.As(err, &bad):
			return c, fmt.Errorf("not a command: %q cannot be a %s", bad.Field, bad.Value)
		default:
			return c, fmt.Errorf("not a command: %w", err)
		}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, errors.New("not a command: something follows the JSON object")
	}
	return c, c.check()
}

// check tells which fields a command lacks.
func (c command) check() error {
	need := func(field, value string) error {
		switch {
		case value == "":
			return fmt.Errorf("%s: %q is missing", clip(c.Command), field)
		case len(value) > 100:
			return fmt.Errorf("%s: %q is longer than 100 bytes", clip(c.Command), field)
		}
		for _, r := range value {
			if unicode.IsControl(r) {
				return fmt.Errorf("%s: %q has a control character", clip(c.Command), field)
			}
		}
		return nil
	}
	between := func(field string, value, low, high int64) error {
		if value < low || value > high {
			return fmt.Errorf("%s: %q is %d, must be %d to %s", clip(c.Command), field, value, low, thousands(high))
		}
		return nil
	}
	var own error
	switch c.Command {
	case "create":
		own = need("customer", c.Customer)
	case "add_item":
		own = errors.Join(need("sku", c.SKU), between("quantity", int64(c.Quantity), 1, 1_000), between("price_cents", c.PriceCents, 0, 100_000_000))
	case "pay":
		own = between("amount_cents", c.AmountCents, 0, 1_000_000_000_000)
	case "ship":
		own = need("tracking", c.Tracking)
	case "cancel":
		own = need("reason", c.Reason)
	default:
		return fmt.Errorf("unknown command %q: there are create, add_item, pay, ship, cancel", clip(c.Command))
	}
	if err := errors.Join(need("order", c.Order), own); err != nil {
		return errors.New(string(bytes.ReplaceAll([]byte(err.Error()), []byte("\n"), []byte("; "))))
	}
	return nil
}
