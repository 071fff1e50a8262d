package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
)

// everyBus is not one bus but leat's own four at once: the same events, the
// same handlers on each, and one table at the end.
func everyBus() backend {
	each := []backend{memory(), leatRedis(), leatRabbitMQ(), leatKafka()}
	return backend{
		name:  "all",
		title: "four buses at once",
		uses:  []string{"redis", "rabbitmq", "kafka"},
		each:  each,
		check: func(o options) (errs []error) {
			var missing []string
			for flag, address := range map[string]string{"-redis": o.redis, "-rabbitmq": o.rabbitmq, "-kafka": o.kafka} {
				if address == "" {
					missing = append(missing, flag)
				}
			}
			if slices.Sort(missing); missing != nil {
				errs = append(errs, fmt.Errorf("-bus=all: it needs a Redis, a RabbitMQ and a Kafka, and has no address from %s", strings.Join(missing, " and ")))
			}
			for _, b := range each {
				if b.check != nil {
					errs = append(errs, b.check(o)...)
				}
			}
			return errs
		},
	}
}

// fleet are the programs of a run on several buses, one each: bus, handlers and
// tally are its own. The commands are those of the first, the shop is shared.
type fleet []*program

// runFleet is run for several buses.
func runFleet(ctx context.Context, opt options, b backend, stdin io.Reader, c *console) int {
	f, err := openFleet(ctx, opt, b.each, c)
	if err != nil {
		fmt.Fprintln(c.err, "cannot start:", err)
		return 1
	}
	c.print("Orders over %s: topic %q, group %q.\n\n", b.title, opt.topic, opt.group)
	return f.run(ctx, stdin)
}

// run does what there is to do, and tells how it went; it returns the exit code.
func (f fleet) run(ctx context.Context, stdin io.Reader) int {
	interrupt, c := ctx, f[0].console // as in the run on one bus
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	consumed := make(chan error, len(f))
	for _, p := range f {
		go func() {
			err := p.bus.Run(context.WithoutCancel(ctx))
			if err != nil {
				err = fmt.Errorf("%s does not consume: %w", p.name, err)
				cancel(err)
			}
			consumed <- err
		}()
	}
	act := f.story
	if f[0].opt.input != "" {
		act = func(ctx context.Context) error { return errors.Join(f[0].read(ctx, stdin), f.settle(ctx)) }
	}
	code := f[0].work(ctx, interrupt, act, f.settle)

	reports := make([]eventbus.Report, len(f))
	errs := f.together(func(i int, p *program) (err error) {
		reports[i], err = p.bus.Shutdown(context.WithoutCancel(ctx))
		return errors.Join(err, p.closeBus())
	})
	for range f {
		errs = append(errs, <-consumed)
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(c.err, "shutdown:", err)
		code = max(code, 1)
	}
	return max(code, f.report(reports))
}

// openFleet wires up all or none.
func openFleet(ctx context.Context, opt options, each []backend, c *console) (fleet, error) {
	var f fleet
	for _, b := range each {
		f = append(f, &program{name: b.name, opt: opt, console: c})
	}
	var away, why []string
	for i, err := range f.together(func(i int, p *program) error {
		return p.open(ctx, each[i], func(event, handler string) { p.tally.handled(0, event, handler) })
	}) {
		if err != nil {
			away, why = append(away, f[i].name), append(why, err.Error())
		}
	}
	var err error
	if away != nil {
		err = fmt.Errorf("-bus=all needs a Redis, a RabbitMQ and a Kafka (-redis, -rabbitmq, -kafka), and cannot use %s: %s",
			strings.Join(away, " and "), strings.Join(why, "; "))
	} else if err = f.openShop(); err == nil {
		return f, nil
	}
	opened := slices.DeleteFunc(f, func(p *program) bool { return p.bus == nil })
	return nil, errors.Join(append([]error{err}, opened.together(func(_ int, p *program) error { return p.shutDown(ctx) })...)...)
}

func (f fleet) openShop() error {
	var all publishers
	for _, p := range f {
		p.tally = newTally(p.bus.Registry(), 1)
		p.tally.learn(p.bus.HandlerStats())
		all = append(all, &outlet{name: p.name, to: counting{p.bus, p.tally}, out: map[string]bool{}})
	}
	var err error
	f[0].shop, err = newShop(all)
	return err
}

// together does the same with all at once and returns their errors.
func (f fleet) together(do func(i int, p *program) error) []error {
	errs := make([]error, len(f))
	var all sync.WaitGroup
	for i, p := range f {
		all.Go(func() { errs[i] = do(i, p) })
	}
	all.Wait()
	return errs
}

// settle waits for all.
func (f fleet) settle(ctx context.Context) error {
	return errors.Join(f.together(func(_ int, p *program) error { return p.settle(ctx) })...)
}

// story has the commands of the story, in one go; no handler tells each step.
func (f fleet) story(ctx context.Context) error {
	c := f[0].console
	for _, p := range f {
		p.handlers.ledger.fail(2)
	}
	for _, do := range slices.Concat(firstOrder(), secondOrder(), thirdOrder()) {
		c.print("   > %s\n", do)
		if err := f[0].shop.do(ctx, do); err != nil {
			return err
		}
	}
	if err := f.settle(ctx); err != nil {
		return err
	}
	c.print("\n   Each bus has its dead letters. The catalogue is mended and they are replayed:\n\n")
	for _, p := range f {
		p.handlers.warehouse.mend()
		mine, _, err := p.tally.bury(ctx, p.bus.DeadLetters())
		if err != nil {
			return fmt.Errorf("%s: list the dead letters: %w", p.name, err)
		}
		for _, l := range mine {
			c.print("   > replay %s of %s for %s on %s\n", l.EventType(), l.Key, strings.Join(l.Handlers, ", "), p.name)
			if err := p.bus.DeadLetters().Replay(ctx, l.ID); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			p.tally.replayed(l)
			p.replays++
		}
	}
	return f.settle(ctx)
}

// report tells how it went on each, when all is over. It returns the exit code.
func (f fleet) report(drained []eventbus.Report) int {
	c, first := f[0].console, f[0].handlers.outcome()
	where := ", on each bus"
	for _, p := range f {
		if !reflect.DeepEqual(p.handlers.outcome(), first) {
			where = ", on " + f[0].name
		}
	}
	f[0].summary(first, where)
	c.print("\nStatistics, a column a bus\n\n")
	checks := make([]check, len(f))
	for i, p := range f {
		checks[i] = p.tally.check(false)
	}
	row := func(what string, count func(i int, s eventbus.Stats) int64) string {
		for i, p := range f {
			what += fmt.Sprintf("\t%9s", thousands(count(i, p.bus.Stats())))
		}
		return what
	}
	header := ""
	for _, p := range f {
		header += fmt.Sprintf("\t%9s", p.name)
	}
	table(
		c.out, header,
		row("events published", func(_ int, s eventbus.Stats) int64 { return s.EventsPublished }),
		row("events consumed", func(_ int, s eventbus.Stats) int64 { return s.EventsConsumed }),
		row("  succeeded", func(_ int, s eventbus.Stats) int64 { return s.EventsProcessedSuccess }),
		row("  failed", func(_ int, s eventbus.Stats) int64 { return s.EventsProcessedFailed }),
		row("  skipped", func(_ int, s eventbus.Stats) int64 { return s.EventsSkipped }),
		row("handler runs", func(_ int, s eventbus.Stats) int64 { return s.HandlersInvoked }),
		row("  failed", func(_ int, s eventbus.Stats) int64 { return s.HandlerErrors }),
		row("  retries", func(_ int, s eventbus.Stats) int64 { return s.Retries }),
		row("dead letters", func(_ int, s eventbus.Stats) int64 { return s.MessagesSentToDLQ }),
		row("  replayed", func(i int, _ eventbus.Stats) int64 { return int64(f[i].replays) }),
		row("handed back", func(i int, _ eventbus.Stats) int64 { return int64(drained[i].HandedBack) }),
		row("runs of other runs' events", func(i int, _ eventbus.Stats) int64 { return int64(f[i].tally.parts()[0].foreign) }),
		row("accepted events", func(i int, _ eventbus.Stats) int64 { return int64(checks[i].events) }),
		row("  runs that succeeded", func(i int, _ eventbus.Stats) int64 { return int64(checks[i].runs) }),
		row("  not exactly once", func(i int, _ eventbus.Stats) int64 { return int64(len(checks[i].problems)) }),
	)
	c.print("\n")
	code := 0
	for i, k := range checks {
		if len(k.problems) > 0 {
			c.tell("On %s:", f[i].name)
			code = k.tell(c.out, c.err, nil, nil)
		}
	}
	if code == 0 {
		c.print("Check: all %s accepted events were handled exactly once by every handler that wants them, on each of the %d buses.\n", thousands(checks[0].events), len(f))
	}
	return code
}

// publishers publishes on several buses at once.
type publishers []*outlet

var _ aggregate.Publisher = publishers{}

// Publish returns nil when every bus has every event. The error is text: a
// *eventbus.PublishError would tell the repository of one bus what holds for all.
func (all publishers) Publish(ctx context.Context, events ...eventbus.Event) error {
	texts := make([]string, len(all))
	var calls sync.WaitGroup
	for i, o := range all {
		calls.Go(func() {
			if err := o.Publish(ctx, events...); err != nil {
				texts[i] = o.name + ": " + err.Error()
			}
		})
	}
	calls.Wait()
	if texts = slices.DeleteFunc(texts, func(s string) bool { return s == "" }); len(texts) > 0 {
		return errors.New(strings.Join(texts, "; "))
	}
	return nil
}

// outlet is one of several buses: what it has confirmed is not published on it
// again because another bus did not take it.
type outlet struct {
	name string
	to   aggregate.Publisher
	mu   sync.Mutex
	out  map[string]bool // by event id
}

// Publish publishes what is not out yet.
func (o *outlet) Publish(ctx context.Context, events ...eventbus.Event) error {
	o.mu.Lock()
	events = slices.DeleteFunc(slices.Clone(events), func(e eventbus.Event) bool { return o.out[e.EventBase().EventID] })
	o.mu.Unlock()
	if len(events) == 0 {
		return nil
	}
	err := o.to.Publish(ctx, events...)
	partly := (*eventbus.PublishError)(nil)
	if err != nil && !errors.As(err, &partly) {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, e := range events {
		if err == nil || partly.Results[i].Outcome == eventbus.Confirmed {
			o.out[e.EventBase().EventID] = true
		}
	}
	return err
}
