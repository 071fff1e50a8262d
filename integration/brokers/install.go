package brokers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// installer gets the programs that brokers need, once for all of them.
type installer struct {
	home home
	log  *progress

	aptOnce sync.Once
	aptErr  error
}

func newInstaller(h home, log *progress) *installer { return &installer{home: h, log: log} }

// ensure returns once the programs of kind are there. The Debian packages of
// all kinds are installed in one go by whoever needs one first: apt has one
// lock. Meanwhile the others go on.
func (i *installer) ensure(ctx context.Context, kind Kind, all []Kind) error {
	if len(i.lacking(kind)) > 0 {
		i.aptOnce.Do(func() { i.aptErr = i.packages(ctx, all) })
		if len(i.lacking(kind)) > 0 {
			return errors.Join(i.missing(kind), i.aptErr)
		}
	}
	if kind == KindKafka {
		return i.kafkaJars(ctx)
	}

	return nil
}

// missing returns nil when all that a broker needs is installed, and otherwise
// one sentence that says what is missing and how to get it.
func (i *installer) missing(kind Kind) error {
	if err := native(); err != nil {
		return err
	}
	if lacking := i.lacking(kind); len(lacking) > 0 {
		return fmt.Errorf("brokers: start %s: %w: get it with `sudo apt-get install %s`, or give the address of a running one in %s",
			kind, errMissing, strings.Join(lacking, " "), kind.names()[0])
	}
	if kind == KindKafka && !i.jarsThere() {
		return fmt.Errorf("brokers: start kafka: %w: get its jars with `go run ./integration/cmd/brokers install -only=kafka`, "+
			"or give the address of a running one in %s", errMissing, EnvKafkaBrokers)
	}

	return nil
}

var errMissing = errors.New("a program is missing")

// lacking returns the Debian packages that a broker needs and the machine
// does not have.
func (i *installer) lacking(kind Kind) []string {
	inPath := func(name string) bool {
		_, err := exec.LookPath(name)

		return err == nil
	}

	var packages []string
	switch kind {
	case KindRedis:
		if !inPath("redis-server") {
			packages = append(packages, "redis-server")
		}
	case KindRabbit:
		if rabbitScript("rabbitmq-server") == "" || !inPath("epmd") {
			packages = append(packages, "rabbitmq-server")
		}
	case KindKafka:
		if !inPath("java") {
			packages = append(packages, "default-jre-headless")
		}
		if !inPath("mvn") && !i.jarsThere() {
			packages = append(packages, "maven")
		}
	}

	return packages
}

// packages installs the Debian packages that are missing for the kinds.
func (i *installer) packages(ctx context.Context, kinds []Kind) error {
	var lacking []string
	for _, kind := range kinds {
		lacking = append(lacking, i.lacking(kind)...)
	}
	names := strings.Join(lacking, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("brokers: install %s: this is no Debian: %w", names, err)
	}

	began := time.Now()
	i.log.line("installing %s (apt-get)", names)
	if err := runScript(ctx, aptScript, lacking); err != nil {
		return fmt.Errorf("brokers: install %s: %w", names, err)
	}
	i.log.line("installed %s in %.1f s", names, time.Since(began).Seconds())

	return nil
}

// aptScript installs packages without starting their services: on a machine
// with an init system Debian would start a Redis on port 6379, and we leave
// such ports alone. A policy that is already there is kept. The lists are
// fetched only when the install does not work without.
const aptScript = `
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
get() { apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@"; }
get install --no-install-recommends "$@" || { get update; get install --no-install-recommends "$@"; }
`

// runScript runs a shell script as root.
func runScript(ctx context.Context, script string, args []string) error {
	words := append([]string{"sh", "-c", script, "sh"}, args...)
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("sudo"); err != nil {
			return fmt.Errorf("not root, and no sudo: %w", err)
		}
		words = append([]string{"sudo"}, words...)
	}

	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin = os.Stdin // sudo may ask for a password
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, lastLines(out, 5))
	}

	return nil
}

func lastLines(text []byte, n int) string {
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}

	return strings.Join(lines, " | ")
}

// Install fetches what the brokers need and the machine does not have:
// Debian packages with apt-get (as root, or through sudo), the jars of Kafka
// with mvn. It starts nothing and does nothing when all is there.
func Install(ctx context.Context, opts Options) error {
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

	i := newInstaller(h, newProgress(opts.Progress))
	var errs []error
	for _, kind := range opts.Kinds {
		errs = append(errs, i.ensure(ctx, kind, opts.Kinds))
	}

	return errors.Join(errs...)
}
