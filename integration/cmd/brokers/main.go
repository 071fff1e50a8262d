// Command brokers starts the message brokers that leat's tests need, waits
// until each answers a request, and stops them again.
//
//	brokers up     start what is not running; prints export lines
//	brokers down   stop what up started
//	brokers run    start what is not running, run a command, stop it all
//	brokers env    print the export lines of what is up
//	brokers status say what is up
//
//	brokers install, brokers certs   only fetch programs, only make certificates
//
// The addresses go to standard output, everything else to standard error:
//
//	eval "$(go run ./integration/cmd/brokers up -only=redis)"
//	go run ./integration/cmd/brokers run -- go test ./...
//
// The exit code is 0 when all is well, 1 when something failed, 2 for a wrong
// command line; that of the command for run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/leat-go/leat/integration/brokers"
)

const usage = `brokers starts the message brokers that leat's tests need.

usage: brokers up     [-only=redis,rabbit,kafka]   start what is not running, print export lines
       brokers run    [-only=...] [--] CMD ARG...  run CMD with the addresses in its environment; what was
                                                   started for it is stopped when it ends, however it ends
       brokers down   [-only=...]                  stop what up started
       brokers env    [-only=...]                  print the export lines of what is up
       brokers status [-only=...]                  say what is up
       brokers install [-only=...]                 fetch what is missing (apt-get, mvn), start nothing
       brokers certs                               make the certificates, print their folder

An address that the environment gives (LEAT_TEST_REDIS_URL, LEAT_TEST_RABBITMQ_URL,
LEAT_TEST_KAFKA_BROKERS) is used as it is, and nothing is started for that broker.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // stop has nothing to do at exit
}

// errUsage marks a wrong command line.
var errUsage = errors.New("see `brokers help`")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout, stderr)
	var ended *exitError
	switch {
	case errors.As(err, &ended):
		return ended.code
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, err)

		return 2
	default:
		fmt.Fprintln(stderr, err)

		return 1
	}
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)

		return fmt.Errorf("brokers: no command: %w", errUsage)
	}

	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)

		return nil
	case "up", "down", "run", "env", "status", "install", "certs":
	default:
		return fmt.Errorf("brokers: unknown command %q: %w", name, errUsage)
	}

	opts, argv, err := parse(name, rest, stderr)
	if err != nil {
		return err
	}

	switch name {
	case "up":
		return up(ctx, opts, stdout)
	case "down":
		return brokers.Down(ctx, opts)
	case "run":
		return runCommand(ctx, opts, argv, stdout, stderr)
	case "install":
		return brokers.Install(ctx, opts)
	case "certs":
		return certsDir(opts, stdout)
	case "env":
		return env(ctx, opts, stdout)
	default:
		return status(ctx, opts, stdout)
	}
}

// parse reads the flags, which all commands share.
func parse(name string, args []string, stderr io.Writer) (brokers.Options, []string, error) {
	flags := flag.NewFlagSet("brokers "+name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "all", "comma separated `brokers`: redis, rabbit, kafka")
	folder := flags.String("dir", "", "`folder` to work in (default: .brokers of the checkout)")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return brokers.Options{}, nil, err //nolint:wrapcheck // a sentinel that run knows
	} else if err != nil {
		return brokers.Options{}, nil, fmt.Errorf("brokers %s: %w: %w", name, err, errUsage)
	}

	kinds, err := brokers.ParseKinds(*only)
	if err != nil {
		return brokers.Options{}, nil, fmt.Errorf("%w: %w", err, errUsage)
	}
	if name != "run" && flags.NArg() > 0 {
		return brokers.Options{}, nil, fmt.Errorf("brokers %s: unexpected argument %q: %w", name, flags.Arg(0), errUsage)
	}

	return brokers.Options{Kinds: kinds, Folder: *folder, Progress: stderr}, flags.Args(), nil
}

// exitError carries the exit code of the command that run ran.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("brokers: exit code %d", e.code) }

func runCommand(ctx context.Context, opts brokers.Options, argv []string, stdout, stderr io.Writer) error {
	if len(argv) == 0 {
		return fmt.Errorf("brokers run: no command: %w", errUsage)
	}

	code, err := brokers.RunCommand(ctx, opts, argv, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, err)
		code = max(code, 1)
	}
	if code != 0 {
		return &exitError{code}
	}

	return nil
}

func certsDir(opts brokers.Options, stdout io.Writer) error {
	dir, err := brokers.CertsDir(opts)
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}
	fmt.Fprintln(stdout, dir)

	return nil
}

func up(ctx context.Context, opts brokers.Options, stdout io.Writer) error {
	began := time.Now()
	vars, err := brokers.Up(ctx, opts)
	for _, v := range vars {
		fmt.Fprintln(stdout, v.Export())
	}
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}
	fmt.Fprintf(opts.Progress, "brokers: all up in %.1f s; stop them with `make brokers-down`\n", time.Since(began).Seconds())

	return nil
}

func env(ctx context.Context, opts brokers.Options, stdout io.Writer) error {
	list, err := brokers.Statuses(ctx, opts)
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}

	found := false
	for _, s := range list {
		if !s.Up {
			continue
		}
		found = true
		for _, v := range s.Vars {
			fmt.Fprintln(stdout, v.Export())
		}
	}
	if !found {
		return errors.New("brokers: nothing is up: start it with `make brokers`")
	}
	dir, err := brokers.CertsDir(opts)
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}
	fmt.Fprintln(stdout, brokers.Var{Name: brokers.EnvCertsDir, Value: dir}.Export())

	return nil
}

func status(ctx context.Context, opts brokers.Options, stdout io.Writer) error {
	list, err := brokers.Statuses(ctx, opts)
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}

	for _, s := range list {
		fmt.Fprintf(stdout, "%-7s %s\n", s.Kind, describe(s))
	}

	return nil
}

func describe(s brokers.Status) string {
	var facts []string
	switch {
	case s.Up:
		facts = append(facts, "up")
	case s.Err != nil:
		facts = append(facts, "does not answer: "+s.Err.Error())
	default:
		facts = append(facts, "not up")
	}
	if s.Given {
		facts = append(facts, "given by "+s.Vars[0].Name)
	}
	if len(s.PIDs) > 0 {
		facts = append(facts, fmt.Sprintf("processes %v", s.PIDs))
	}
	if !s.Started.IsZero() {
		facts = append(facts, "since "+s.Started.Local().Format(time.DateTime))
	}

	return strings.Join(facts, ", ")
}
