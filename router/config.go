package router

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

const (
	// DefaultDrainTimeout is as long as Watermill's router waits by default.
	// Set it below what the orchestrator allows (Kubernetes: also 30 s): what is
	// longer is cut off by a SIGKILL, what is shorter cuts off slow handlers.
	DefaultDrainTimeout = 30 * time.Second

	// DefaultSettleTimeout is long enough for an acknowledgement to a broker
	// under load; it is waited for in full only when the adapter gives no sign.
	DefaultSettleTimeout = 2 * time.Second

	// inFlightPerWorker leaves room for other keys behind a busy one. Smaller
	// idles workers when keys cluster; larger hands more back at a drain.
	inFlightPerWorker = 16
)

// Config configures a [Router]. The zero value is usable.
type Config struct {
	// DrainTimeout bounds a drain that was given no deadline: by the end of
	// Run's context, or by Shutdown with a context without one. 0 means
	// [DefaultDrainTimeout].
	DrainTimeout time.Duration

	// SettleTimeout is DrainConfig.SettleTimeout for the subscribers that the
	// router decorates. 0 means [DefaultSettleTimeout].
	SettleTimeout time.Duration

	// Logger receives what happens to the router and to its handlers, from
	// Watermill too; nothing per message at level info. nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once, or nil.
func (c Config) Validate() error {
	var errs []error
	if c.DrainTimeout < 0 {
		errs = append(errs, errors.New("router: Config.DrainTimeout: must not be negative"))
	}
	if c.SettleTimeout < 0 {
		errs = append(errs, errors.New("router: Config.SettleTimeout: must not be negative"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.SettleTimeout == 0 {
		c.SettleTimeout = DefaultSettleTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// DrainConfig configures [Decorate]. The zero value is usable.
type DrainConfig struct {
	// Concurrency is how many messages of one subscription may be handled at a
	// time. 0 means 1: strictly the order in which the inner subscriber
	// delivers. With more, messages with one key are handled one at a time and
	// in order, different keys in parallel. Stock adapters mostly deliver one
	// message at a time, whatever is set here.
	Concurrency int

	// Key returns what orders a message: see Concurrency. Messages with an
	// empty key have no order among each other. nil means the metadata
	// aggregate_id; so does a panic in it, which is logged. It is called from
	// one goroutine a subscription.
	Key func(*message.Message) string

	// MaxInFlight bounds the messages of one subscription that were taken from
	// the inner subscriber and are not settled. They include those that wait
	// behind a busy key, so it should be a multiple of Concurrency. 0 means 1
	// for a Concurrency of 1, else 16 times Concurrency.
	MaxInFlight int

	// DrainTimeout bounds a drain that was given no deadline: by Close, or by
	// the end of the context of Subscribe. 0 means [DefaultDrainTimeout].
	DrainTimeout time.Duration

	// SettleTimeout bounds how long a drain waits after the last
	// acknowledgement for the inner subscriber to send it to its broker. The
	// wait ends at once when the inner subscriber ends the message's context or
	// delivers the next message, as stock adapters do. 0 means
	// [DefaultSettleTimeout].
	SettleTimeout time.Duration

	// Logger receives the start, the end and the troubles of subscriptions.
	// nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once, or nil.
func (c DrainConfig) Validate() error {
	var errs []error
	negative := func(field string, is bool) {
		if is {
			errs = append(errs, fmt.Errorf("router: DrainConfig.%s: must not be negative", field))
		}
	}
	negative("Concurrency", c.Concurrency < 0)
	negative("MaxInFlight", c.MaxInFlight < 0)
	negative("DrainTimeout", c.DrainTimeout < 0)
	negative("SettleTimeout", c.SettleTimeout < 0)
	if c.MaxInFlight > 0 && c.MaxInFlight < c.Concurrency {
		errs = append(errs, fmt.Errorf("router: DrainConfig.MaxInFlight: %d is less than Concurrency %d", c.MaxInFlight, c.Concurrency))
	}
	return errors.Join(errs...)
}

func (c DrainConfig) withDefaults() DrainConfig {
	if c.Concurrency == 0 {
		c.Concurrency = 1
	}
	if c.Key == nil {
		c.Key = aggregateID
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 1
		if c.Concurrency > 1 {
			c.MaxInFlight = inFlightPerWorker * c.Concurrency
		}
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.SettleTimeout == 0 {
		c.SettleTimeout = DefaultSettleTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func aggregateID(m *message.Message) string { return m.Metadata[wire.AggregateID] }
