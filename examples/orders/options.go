package main

import (
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
)

// options are the flags.
type options struct {
	bus         string
	redis       string
	group       string
	topic       string
	input       string
	concurrency int
	patience    time.Duration
	log         bool
}

const usage = `orders shows leat at work: orders are aggregates, what happens to them is
published as events, and named handlers react.

  go run ./examples/orders                                    a short story, in memory
  go run ./examples/orders -input examples/orders/testdata/orders.jsonl
  go run ./examples/orders -bus=watermill-redis -redis=redis://localhost:6379/0

A line of the input is a JSON object, for instance
  {"command":"create","order":"o-1","customer":"ann"}
  {"command":"add_item","order":"o-1","sku":"tea","quantity":2,"price_cents":450}
  {"command":"pay","order":"o-1","amount_cents":900}
  {"command":"ship","order":"o-1","tracking":"T-1"}
  {"command":"cancel","order":"o-1","reason":"changed my mind"}
A line that cannot be read or carried out is told with its number, and the next
one is read.

Exit code 0: every accepted event was handled exactly once by every handler that
wants it. 1: it was not, or the bus failed; the text says which. 2: the flags or
the input are wrong. 130: interrupted by Ctrl-C, which finishes what has begun.

`

// parse reads the flags and tells all their mistakes at once.
func parse(args []string, out io.Writer) (o options, b backend, err error) {
	var errs []error
	o.concurrency, o.patience = 1, 10*time.Second
	fs := flag.NewFlagSet("orders", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.bus, "bus", "memory", "the bus: "+strings.Join(names(), ", "))
	fs.StringVar(&o.redis, "redis", "redis://localhost:6379/0", "`URL` of Redis, for -bus=watermill-redis")
	fs.StringVar(&o.group, "group", "shop", "consumer group; a new one first gets the history of the topic")
	fs.StringVar(&o.topic, "topic", "orders", "topic that the events go to")
	fs.StringVar(&o.input, "input", "", "`FILE` with commands as JSON lines, - for standard input; empty for the story")
	fs.Func("concurrency", "how many orders are worked on at once (default 1)", func(s string) error {
		var err error
		if o.concurrency, err = strconv.Atoi(s); err != nil || o.concurrency < 1 || o.concurrency > 1000 {
			errs = append(errs, fmt.Errorf("-concurrency: %q must be a number from 1 to 1000", clip(s)))
		}
		return nil
	})
	fs.Func("patience", "how long to wait when nothing moves any more (default 10s)", func(s string) error {
		var err error
		if o.patience, err = time.ParseDuration(s); err != nil || o.patience <= 0 {
			errs = append(errs, fmt.Errorf("-patience: %q must be a time like 10s", clip(s)))
		}
		return nil
	})
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
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	b, more := o.check(given)
	return o, b, errors.Join(append(errs, more...)...)
}

func (o options) check(given map[string]bool) (b backend, errs []error) {
	i := slices.IndexFunc(backends(), func(b backend) bool { return b.name == o.bus })
	if i < 0 {
		errs = append(errs, fmt.Errorf("-bus: %q is none of %s", clip(o.bus), strings.Join(names(), ", ")))
	} else {
		b = backends()[i]
		if given["redis"] && !slices.Contains(b.uses, "redis") {
			errs = append(errs, fmt.Errorf("-redis: the bus %q has no use for it", o.bus))
		}
		if b.check != nil {
			errs = append(errs, b.check(o)...)
		}
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
