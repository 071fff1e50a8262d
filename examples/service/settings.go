package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leat-go/leat/eventbus"
)

const usage = `SERVICE_ADDR         where HTTP listens                                :8080
SERVICE_BUS          memory, redis, rabbitmq or kafka                  memory
SERVICE_URL          address of the broker                             the backend's default
SERVICE_TOPIC        stream, exchange or topic of the events           shop
SERVICE_GROUP        consumer group: replicas share the events         billing
SERVICE_INSTANCE     name of this replica, the same after a restart    the host's name
SERVICE_CONCURRENCY  how many orders are worked on at once             8
SERVICE_LINGER       how long HTTP goes on after SIGTERM, until        0s
                     load balancers have seen that it is not ready
SERVICE_STOP         how long SIGTERM may take in all                  25s
SERVICE_WORK         how long a handler takes, to watch a drain        0s
SERVICE_FAIL         customer whose orders cannot be invoiced, to      nobody
                     watch retries and a dead letter
SERVICE_LOG          debug, info, warn or error                        info
`

// settings are the environment.
type settings struct {
	addr         string
	backend      backend
	url          string // may hold a password: it is never printed
	topic, group string
	instance     string
	concurrency  int
	linger, stop time.Duration
	work         time.Duration
	fail         string
	logLevel     slog.Level
	registry     *eventbus.Registry
}

// newSettings reads the environment and tells all its mistakes at once, names
// that only look like ours included.
func newSettings(environ []string) (settings, error) {
	reg, err := newRegistry()
	errs := []error{err}
	given, asked := map[string]string{}, map[string]bool{}
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "SERVICE_") {
			given[name] = value
		}
	}
	text := func(name, otherwise string) string {
		asked[name] = true
		if value := given[name]; value != "" {
			return value
		}
		return otherwise
	}
	wrong := func(name, want string) { errs = append(errs, fmt.Errorf("%s: %q must be %s", name, given[name], want)) }
	duration := func(name, otherwise string) time.Duration {
		d, err := time.ParseDuration(text(name, otherwise))
		if err != nil || d < 0 {
			wrong(name, "a time like 10s")
		}
		return d
	}

	host, err := os.Hostname()
	errs = append(errs, err)
	s := settings{
		addr: text("SERVICE_ADDR", ":8080"), url: text("SERVICE_URL", ""), instance: text("SERVICE_INSTANCE", host),
		topic: text("SERVICE_TOPIC", "shop"), group: text("SERVICE_GROUP", "billing"), registry: reg,
		linger: duration("SERVICE_LINGER", "0s"), stop: duration("SERVICE_STOP", "25s"), work: duration("SERVICE_WORK", "0s"),
		fail: text("SERVICE_FAIL", ""),
	}
	if _, _, err := net.SplitHostPort(s.addr); err != nil {
		wrong("SERVICE_ADDR", "host:port, or :port")
	}
	if 0 < s.stop && s.stop <= s.linger {
		wrong("SERVICE_LINGER", "shorter than SERVICE_STOP, "+s.stop.String())
	}
	if s.concurrency, err = strconv.Atoi(text("SERVICE_CONCURRENCY", "8")); err != nil || s.concurrency < 1 {
		wrong("SERVICE_CONCURRENCY", "a number from 1")
	}
	if err := s.logLevel.UnmarshalText([]byte(text("SERVICE_LOG", "info"))); err != nil {
		wrong("SERVICE_LOG", "debug, info, warn or error")
	}
	name := text("SERVICE_BUS", "memory")
	if i := slices.IndexFunc(backends(), func(b backend) bool { return b.name == name }); i < 0 {
		wrong("SERVICE_BUS", "memory, redis, rabbitmq or kafka")
	} else {
		s.backend = backends()[i]
		if err := s.backend.check(s); err != nil { // what it says about a URL is without the password
			errs = append(errs, fmt.Errorf("SERVICE_BUS=%s: %w", name, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !asked[name] {
			errs = append(errs, fmt.Errorf("%s: there is no such setting", name))
		}
	}
	return s, errors.Join(errs...)
}
