package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
)

// options are the flags.
type options struct {
	bus         string
	redis       string
	rabbitmq    string
	kafka       string
	group       string
	topic       string
	input       string
	concurrency int
	patience    time.Duration
	work        time.Duration
	workers     int
	worker      bool
	log         bool
	forWorkers  []string // the flags that worker processes get, too
}

// story reports whether the run tells the story: nobody gave it anything to do,
// and there is one bus to tell of.
func (o options) story() bool { return o.input == "" && !o.worker && o.bus != "all" }

const usage = `orders shows leat at work: orders are aggregates, what happens to them is
published as events, and named handlers react.

  go run ./examples/orders                                    a short story, in memory
  go run ./examples/orders -input examples/orders/testdata/orders.jsonl
  go run ./examples/orders -bus=redis -redis=redis://localhost:6379/0
  go run ./examples/orders -bus=redis -workers=2 -input examples/orders/testdata/orders.jsonl
  go run ./examples/orders -bus=rabbitmq -rabbitmq=amqp://guest:guest@localhost:5672/
  go run ./examples/orders -bus=kafka -kafka=localhost:9092
  go run ./examples/orders -bus=all                           the same events in memory and on all three

A line of the input is a JSON object, for instance
  {"command":"create","order":"o-1","customer":"ann"}
  {"command":"add_item","order":"o-1","sku":"tea","quantity":2,"price_cents":450}
  {"command":"pay","order":"o-1","amount_cents":900}
  {"command":"ship","order":"o-1","tracking":"T-1"}
  {"command":"cancel","order":"o-1","reason":"changed my mind"}
A line that cannot be read or carried out is told with its number, and the next
one is read.

Several processes can share the events of a topic as one consumer group:
-workers=2 starts two more. Or start them by hand, each in a terminal of its own:
  go run ./examples/orders -bus=redis -worker
with the same -bus, URL, -topic and -group as the run. A worker issues no
commands. It handles events until its standard input ends (Ctrl-D) or a signal
comes, then drains. Its output is JSON, a line for each handler that has handled
an event; the last line has its statistics. Kill one in the middle (kill -9), and
what it had begun comes to the others; -work gives you the time. What to know:
  - Events of one order keep their order within a process, not among several; on
    Kafka among all.
  - After a kill, what was handled and not yet acknowledged is handled again.
  - -bus=watermill-redis takes an event from a process that lives when its
    handlers need more than 5 s, and it is handled twice; -bus=redis does not.
  - What workers started by hand have handled, the run cannot check event by
    event: it asks Redis or Kafka whether all was acknowledged. RabbitMQ cannot
    tell, and such a run fails: use -workers there.

Exit code 0: every accepted event was handled exactly once by every handler that
wants it. 1: it was not, or the bus failed; the text says which. 2: the flags or
the input are wrong. 130: interrupted by Ctrl-C, which finishes what has begun.

`

// parse reads the flags and tells all their mistakes at once.
func parse(args []string, out io.Writer) (o options, b backend, err error) {
	var errs []error
	o.concurrency, o.patience = 1, 10*time.Second
	fs := flag.NewFlagSet("orders", flag.ContinueOnError)
	texts := map[string]string{} // of the flags that tell nobody their value
	number := func(name string, value *int, low, high int, usage string) {
		fs.Func(name, usage, func(s string) (err error) {
			texts[name] = s
			if *value, err = strconv.Atoi(s); err != nil || *value < low || *value > high {
				errs = append(errs, fmt.Errorf("-%s: %q must be a number from %d to %d", name, clip(s), low, high))
			}
			return nil
		})
	}
	duration := func(name string, value *time.Duration, low time.Duration, usage string) {
		fs.Func(name, usage, func(s string) (err error) {
			texts[name] = s
			if *value, err = time.ParseDuration(s); err != nil || *value < low {
				errs = append(errs, fmt.Errorf("-%s: %q must be a time like 10s", name, clip(s)))
			}
			return nil
		})
	}
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.bus, "bus", "memory", "the bus: "+strings.Join(names(), ", "))
	fs.StringVar(&o.redis, "redis", "redis://localhost:6379/0", "`URL` of Redis, for -bus=redis, -bus=watermill-redis and -bus=all")
	fs.StringVar(&o.rabbitmq, "rabbitmq", rabbitbus.DefaultURL, "`URL` of RabbitMQ, for -bus=rabbitmq and -bus=all")
	fs.StringVar(&o.kafka, "kafka", kafkabus.DefaultBootstrapServers, "`HOST:PORT` of Kafka, several with commas, for -bus=kafka and -bus=all")
	fs.StringVar(&o.group, "group", "shop", "consumer group; a new one first gets the history of the topic")
	fs.StringVar(&o.topic, "topic", "orders", "topic that the events go to")
	fs.StringVar(&o.input, "input", "", "`FILE` with commands as JSON lines, - for standard input; empty for the story")
	number("concurrency", &o.concurrency, 1, 1000, "how many orders are worked on at once, in each process (default 1)")
	number("workers", &o.workers, 0, 16, "start that many more processes that handle events (default 0)")
	fs.BoolVar(&o.worker, "worker", false, "be such a process: handle events of other processes' runs, see above")
	duration("patience", &o.patience, time.Nanosecond, "how long to wait when nothing moves any more (default 10s)")
	duration("work", &o.work, 0, "how long each handler takes, to have the time to kill a process (default 0s)")
	fs.BoolVar(&o.log, "log", false, "write the bus's own log to standard error")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		fs.SetOutput(out)
		fs.PrintDefaults()
		return o, b, err
	case err != nil:
		errs = append(errs, err)
	case fs.NArg() > 0:
		errs = append(errs, fmt.Errorf("%q is no flag: the input is given with -input", clip(fs.Arg(0))))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) {
		given[f.Name] = true
		if f.Name != "input" && f.Name != "workers" {
			o.forWorkers = append(o.forWorkers, "-"+f.Name+"="+cmp.Or(texts[f.Name], f.Value.String()))
		}
	})
	b, more := o.check(given)
	return o, b, errors.Join(append(errs, more...)...)
}

func (o options) check(given map[string]bool) (b backend, errs []error) {
	i := slices.IndexFunc(backends(), func(b backend) bool { return b.name == o.bus })
	if i < 0 {
		errs = append(errs, fmt.Errorf("-bus: %q is none of %s", clip(o.bus), strings.Join(names(), ", ")))
	} else {
		b = backends()[i]
		for _, name := range [...]string{"redis", "rabbitmq", "kafka", "worker", "workers"} {
			if given[name] && !slices.Contains(b.uses, name) {
				errs = append(errs, fmt.Errorf("-%s: the bus %q has no use for it", name, o.bus))
			}
		}
		if b.check != nil {
			errs = append(errs, b.check(o)...)
		}
	}
	switch {
	case o.worker && (o.input != "" || o.workers > 0):
		errs = append(errs, errors.New("-worker: it handles events only, and goes with neither -input nor -workers"))
	case o.workers > 0 && o.input == "":
		errs = append(errs, errors.New("-workers: needs -input, for the story is about one process"))
	}
	name := regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,120}$`)
	for _, f := range [...]struct{ flag, value string }{{"-group", o.group}, {"-topic", o.topic}} {
		if !name.MatchString(f.value) {
			errs = append(errs, fmt.Errorf("%s: %q must be 1 to 120 of letters, digits and _ - . : /", f.flag, clip(f.value)))
		}
	}
	if o.input != "" && o.input != "-" {
		if info, err := os.Stat(o.input); err != nil {
			errs = append(errs, fmt.Errorf("-input: %w", err))
		} else if info.IsDir() {
			errs = append(errs, fmt.Errorf("-input: %s is a folder", o.input))
		}
	}
	return b, errs
}

// clip shortens what a user gave, for messages.
func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
