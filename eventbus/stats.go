package eventbus

import (
	"sync/atomic"
	"time"
)

// Stats is a snapshot of what a bus has done since it was opened or last
// reset. It means the same on every bus. Two identities always hold:
//
//	EventsConsumed  = EventsProcessedSuccess + EventsProcessedFailed + EventsSkipped
//	HandlersInvoked = HandlerSuccesses + HandlerErrors
//
// The counts of a snapshot are read one after another while the bus goes on.
type Stats struct {
	// EventsPublished counts the events whose publishing was confirmed.
	EventsPublished int64
	// PublishErrors counts the events that were refused or are unknown.
	PublishErrors int64
	// EventsConsumed counts the deliveries that are settled. Those handed back
	// at a shutdown are not: see EventsHandedBack.
	EventsConsumed int64
	// EventsProcessedSuccess counts events that every handler succeeded on or
	// discarded.
	EventsProcessedSuccess int64
	// EventsProcessedFailed counts events that at least one handler gave up
	// on, or that could not be decoded: buried, or dropped with DisableDLQ.
	EventsProcessedFailed int64
	// EventsSkipped counts events that no handler of this bus wanted.
	EventsSkipped int64
	// EventsHandedBack counts deliveries that were given to handlers and back
	// unfinished. The Report of a shutdown counts those too that still waited.
	EventsHandedBack int64
	// HandlersInvoked counts attempts of handlers, HandlerSuccesses and
	// HandlerErrors their results (a panic is an error).
	HandlersInvoked, HandlerSuccesses, HandlerErrors int64
	// HandlerDiscards counts attempts that ended in a Discard; they are among
	// HandlerErrors.
	HandlerDiscards int64
	// HandlerOverruns counts attempts that went on after their time-out, and a
	// second more, without heeding their context; they are waited for.
	HandlerOverruns int64
	// Retries counts attempts after the first.
	Retries int64
	// MessagesSentToDLQ counts confirmed burials, BurialErrors failed tries.
	MessagesSentToDLQ, BurialErrors int64
	// Reconnections and Rebalances are counted by the backends that have them.
	Reconnections, Rebalances int64
	// BackgroundTasksCreated counts PublishInBackground calls that went to the
	// background, BackgroundTasksInline those that ran inline because
	// MaxBackground others were under way, BackgroundErrors those of either
	// kind that failed. BackgroundTasksActive is how many run at this moment.
	BackgroundTasksCreated, BackgroundTasksInline, BackgroundErrors, BackgroundTasksActive int64
	// LastPublishAt, LastConsumeAt and LastErrorAt are zero when it never
	// happened; ConnectedAt is when the bus was opened, or last reconnected.
	LastPublishAt, LastConsumeAt, LastErrorAt, ConnectedAt time.Time
}

// HandlerStats is the part of one handler on one type, or on all.
type HandlerStats struct {
	// Handler is its name; EventType the wire name of its type, empty for a
	// handler of all events.
	Handler, EventType string
	// Invoked counts attempts, Errors those that failed, Retries those after
	// the first, DeadLetters the events that it gave up on.
	Invoked, Errors, Retries, DeadLetters int64
}

type counters struct {
	published, publishErrors          atomic.Int64
	success, failed, skipped          atomic.Int64
	handedBack                        atomic.Int64
	handlerOK, handlerErr, discards   atomic.Int64
	overruns                          atomic.Int64
	retries, buried, burialErrors     atomic.Int64
	bgCreated, bgInline, bgErrors     atomic.Int64
	lastPublish, lastConsume, lastErr atomic.Int64 // Unix nanoseconds
	connected                         atomic.Int64
}

type handlerStats struct {
	ok, failed, retries, letters atomic.Int64
}

// Stats returns a snapshot; it never blocks.
func (b *Bus) Stats() Stats {
	c := &b.counts
	s := Stats{
		EventsPublished:        c.published.Load(),
		PublishErrors:          c.publishErrors.Load(),
		EventsProcessedSuccess: c.success.Load(),
		EventsProcessedFailed:  c.failed.Load(),
		EventsSkipped:          c.skipped.Load(),
		EventsHandedBack:       c.handedBack.Load(),
		HandlerSuccesses:       c.handlerOK.Load(),
		HandlerErrors:          c.handlerErr.Load(),
		HandlerDiscards:        c.discards.Load(),
		HandlerOverruns:        c.overruns.Load(),
		Retries:                c.retries.Load(),
		MessagesSentToDLQ:      c.buried.Load(),
		BurialErrors:           c.burialErrors.Load(),
		BackgroundTasksCreated: c.bgCreated.Load(),
		BackgroundTasksInline:  c.bgInline.Load(),
		BackgroundErrors:       c.bgErrors.Load(),
		BackgroundTasksActive:  int64(b.BackgroundTaskCount()),
		LastPublishAt:          instant(&c.lastPublish),
		LastConsumeAt:          instant(&c.lastConsume),
		LastErrorAt:            instant(&c.lastErr),
		ConnectedAt:            instant(&c.connected),
	}
	s.EventsConsumed = s.EventsProcessedSuccess + s.EventsProcessedFailed + s.EventsSkipped
	s.HandlersInvoked = s.HandlerSuccesses + s.HandlerErrors
	if b.cfg.AddStats != nil {
		b.cfg.AddStats(&s)
	}
	return s
}

// ResetStats sets every count to zero and forgets the times, except
// ConnectedAt. What is under way is counted when it ends.
func (b *Bus) ResetStats() {
	c := &b.counts
	for _, n := range []*atomic.Int64{
		&c.published, &c.publishErrors, &c.success, &c.failed, &c.skipped, &c.handedBack, &c.handlerOK, &c.handlerErr, &c.discards, &c.overruns,
		&c.retries, &c.buried, &c.burialErrors, &c.bgCreated, &c.bgInline, &c.bgErrors,
		&c.lastPublish, &c.lastConsume, &c.lastErr,
	} {
		n.Store(0)
	}
	for _, s := range b.subscriptions() {
		for _, n := range []*atomic.Int64{&s.stats.ok, &s.stats.failed, &s.stats.retries, &s.stats.letters} {
			n.Store(0)
		}
	}
}

// HandlerStats returns the part of each handler that is subscribed now, sorted
// by name and type.
func (b *Bus) HandlerStats() []HandlerStats {
	var all []HandlerStats
	for _, s := range b.subscriptions() {
		h := HandlerStats{Handler: s.name, Errors: s.stats.failed.Load(), Retries: s.stats.retries.Load(), DeadLetters: s.stats.letters.Load()}
		h.Invoked = s.stats.ok.Load() + h.Errors
		if s.et != nil {
			h.EventType = s.et.name
		}
		all = append(all, h)
	}
	return all
}

func instant(ns *atomic.Int64) time.Time {
	if n := ns.Load(); n != 0 {
		return time.Unix(0, n).UTC()
	}
	return time.Time{}
}
