package main

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestFlags_AllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	r := runOrders(t.Context(), nil, "-bus=pigeon", "-group=a b", "-topic=", "-concurrency=many", "-patience=-1s", "-input=/none/such", "orders.jsonl")
	want := `These flags cannot work:
  -concurrency: "many" must be a number from 1 to 1000
  -patience: "-1s" must be a time like 10s
  "orders.jsonl" is no flag: the input is given with -input
  -bus: "pigeon" is none of memory, redis, watermill-redis, rabbitmq, kafka, all
  -group: "a b" must be 1 to 120 of letters, digits and _ - . : /
  -topic: "" must be 1 to 120 of letters, digits and _ - . : /
  -input: stat /none/such: no such file or directory
(-help tells about them all)
`
	if r.code != 2 || r.err != want || r.out != "" {
		t.Errorf("got code %d\n%s%s\nwant 2\n%s", r.code, r.out, r.err, want)
	}
}

func TestFlags_Single(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]string{
		"-redis=redis://localhost":                        `-redis: the bus "memory" has no use for it`,
		"-bus=watermill-redis -redis=http://localhost":    "-redis: redis: invalid URL scheme: http",
		"-bus=watermill-redis -redis=redis://u:hush@:%x":  "-redis: not a URL like",
		"-bus=redis -redis=redis://u:hush@:%x":            "-redis: ",
		"-bus=redis -redis=redis://u:hush@far.away/0":     "-redis: ",
		"-bus=rabbitmq -rabbitmq=amqp://u:hush@far.away/": "-rabbitmq: ",
		"-bus=rabbitmq -rabbitmq=amqp://u:hush@:%x":       "-rabbitmq: ",
		"-bus=kafka -kafka=far.away":                      "-kafka: ",
		"-bus=redis -rabbitmq=amqp://localhost":           `-rabbitmq: the bus "redis" has no use for it`,
		"-workers=1 -input=testdata/orders.jsonl":         `-workers: the bus "memory" has no use for it`,
		"-worker":                       `-worker: the bus "memory" has no use for it`,
		"-bus=redis -workers=17":        `-workers: "17" must be a number from 0 to 16`,
		"-bus=redis -workers=1":         "-workers: needs -input",
		"-bus=redis -worker -workers=1": "-worker: it handles events only",
		"-bus=redis -worker -input=-":   "-worker: it handles events only",
		"-work=-1s":                     `-work: "-1s" must be a time like 10s`,
		"-input=testdata":               "-input: testdata is a folder",
		"-colour":                       "flag provided but not defined: -colour",
	} {
		r := runOrders(t.Context(), nil, strings.Fields(flags)...)
		if r.code != 2 || !strings.Contains(r.err, want) || strings.Contains(r.err, "hush") {
			t.Errorf("%s: got code %d, %s\nwant %s", flags, r.code, r.err, want)
		}
	}
}

func TestFlags_Help(t *testing.T) {
	t.Parallel()
	r := runOrders(t.Context(), nil, "-help")
	if r.code != 0 {
		t.Errorf("got code %d", r.code)
	}
	wantAll(t, "the help", r.err, `{"command":"add_item","order":"o-1","sku":"tea","quantity":2,"price_cents":450}`, "-concurrency", "Exit code 0:", "-redis URL",
		"go run ./examples/orders -bus=redis -worker\n", "-workers", "acknowledged is handled again")
}

func TestFlags_WorkersGetTheSame(t *testing.T) {
	t.Parallel()
	args := []string{"-bus=redis", "-redis", "redis://localhost:1", "-input=-", "-workers=2", "-topic=a", "-group", "b", "-concurrency=7", "-patience=1m", "-work", "2ms", "-log"}
	o, _, err := parse(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	w, _, err := parse(append([]string{"-worker"}, o.forWorkers...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	o.input, o.workers, o.worker = "", 0, true
	o.forWorkers, w.forWorkers = nil, nil
	if !reflect.DeepEqual(o, w) {
		t.Errorf("got %+v, want %+v", w, o)
	}
}
