package aggregate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/leat-go/leat/eventbus"
)

const (
	// markTimeout bounds the step after publishing, which must not fail only
	// because the caller's context ended meanwhile: that would double events.
	markTimeout = 5 * time.Second
	// pendingBatch is how many pending events of an aggregate are published in
	// one call: a broker that is slow then loses less of the work already done.
	pendingBatch = 500
	// maxReported is how many aggregates an error of PublishPending names.
	maxReported = 10
)

// publishSaved publishes what was just appended, after what an earlier Save of
// the aggregate has left behind.
func (r *Repository[A]) publishSaved(ctx context.Context, s Stream, events []eventbus.Event) error {
	earlier, landed, _, err := r.claimPending(ctx, s, events[0].EventBase().AggregateVersion)
	defer landed()
	if err != nil {
		return unpublished(s, events, fmt.Errorf("look for earlier ones: %w", err))
	}
	return r.publish(ctx, s, append(earlier, events...))
}

// claimPending returns the pending events of an aggregate below a version that
// this repository is not publishing already, and makes sure that nobody else
// in it does until landed is called. Busy tells that there are others.
func (r *Repository[A]) claimPending(ctx context.Context, s Stream, below int64) (claimed []eventbus.Event, landed func(), busy bool, err error) {
	list := func() (events []eventbus.Event, err error) {
		for e, err := range r.cfg.Store.Pending(ctx, s) {
			if err != nil {
				return nil, err
			}
			if e.EventBase().AggregateVersion < below {
				events = append(events, e)
			}
		}
		return events, nil
	}
	seen, err := list()
	if err != nil || len(seen) == 0 {
		return nil, func() {}, false, err
	}
	claimed, landed = r.flight.claim(seen)
	busy = len(claimed) < len(seen)
	if len(claimed) == 0 {
		return nil, landed, busy, nil
	}
	// Between the look and the claim a Save may have published some of them.
	still, err := list()
	if err != nil {
		return nil, landed, busy, err
	}
	ids := make(map[string]bool, len(still))
	for _, e := range still {
		ids[e.EventBase().EventID] = true
	}
	claimed = slices.DeleteFunc(claimed, func(e eventbus.Event) bool { return !ids[e.EventBase().EventID] })
	return claimed, landed, busy, nil
}

// PublishPending publishes the events that are stored and not marked as
// published: those that a Save could not publish, and those of a process that
// died. It returns how many it published. Events of one aggregate are published
// in order: when one fails, the rest of its aggregate waits for the next call,
// and the other aggregates go on.
//
// It leaves alone what a Save of this Repository is publishing at this moment,
// and what is behind that. Two processes that call it at the same time double
// events. The error joins an [*UnpublishedError] for each aggregate, the first
// ten.
func (r *Repository[A]) PublishPending(ctx context.Context) (int, error) {
	var published, failed int
	var errs []error
	seen := map[Stream]bool{}
	for e, err := range r.cfg.Store.Pending(ctx, Stream{Type: r.cfg.Type}) {
		if err != nil {
			errs = append(errs, fmt.Errorf("aggregate: list pending events of %s: %w", r.cfg.Type, err))
			break
		}
		s := Stream{Type: r.cfg.Type, ID: e.EventBase().AggregateID}
		if seen[s] {
			continue
		}
		seen[s] = true
		n, err := r.publishStream(ctx, s)
		published += n
		if err == nil {
			continue
		}
		if failed++; failed <= maxReported {
			errs = append(errs, err)
		}
	}
	if failed > maxReported {
		errs = append(errs, fmt.Errorf("aggregate: and %d more aggregates", failed-maxReported))
	}
	return published, errors.Join(errs...)
}

// publishStream publishes what is pending of one aggregate.
func (r *Repository[A]) publishStream(ctx context.Context, s Stream) (int, error) {
	events, landed, busy, err := r.claimPending(ctx, s, math.MaxInt64)
	defer landed()
	if err != nil {
		return 0, fmt.Errorf("aggregate: list pending events of %s: %w", s, err)
	}
	if busy {
		return 0, nil
	}
	published := 0
	for batch := range slices.Chunk(events, pendingBatch) {
		err := r.publish(ctx, s, batch)
		if lost := (*UnpublishedError)(nil); errors.As(err, &lost) {
			return published + len(batch) - len(lost.EventIDs), err
		}
		published += len(batch)
	}
	return published, nil
}

// publish publishes events of one aggregate and marks those that are confirmed.
func (r *Repository[A]) publish(ctx context.Context, s Stream, events []eventbus.Event) error {
	err := r.cfg.Publisher.Publish(ctx, events...)
	done, left := split(events, err)
	if len(done) > 0 {
		mark, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
		defer cancel()
		if merr := r.cfg.Store.MarkPublished(mark, s, done); merr != nil {
			return unpublished(s, events, errors.Join(err, fmt.Errorf("published, but not marked as such: %w", merr)))
		}
	}
	if err != nil {
		return unpublished(s, left, err)
	}
	return nil
}

// split tells by the error of Publish which events are published.
func split(events []eventbus.Event, err error) (done, left []eventbus.Event) {
	if err == nil {
		return events, nil
	}
	pe := (*eventbus.PublishError)(nil)
	if !errors.As(err, &pe) || len(pe.Results) != len(events) {
		return nil, events
	}
	for i, e := range events {
		if pe.Results[i].Outcome == eventbus.Confirmed {
			done = append(done, e)
		} else {
			left = append(left, e)
		}
	}
	return done, left
}

func unpublished(s Stream, events []eventbus.Event, err error) error {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.EventBase().EventID
	}
	return &UnpublishedError{Stream: s, EventIDs: ids, Err: err}
}

// flight knows which events this repository is publishing at this moment, so
// that they are not published twice.
type flight struct {
	mu  sync.Mutex
	ids map[string]bool
}

// claim enters those of the events that are not under way, and returns them
// and what ends it.
func (f *flight) claim(events []eventbus.Event) (claimed []eventbus.Event, landed func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		if id := e.EventBase().EventID; !f.ids[id] {
			f.ids[id] = true
			claimed = append(claimed, e)
		}
	}
	ids := make([]string, len(claimed))
	for i, e := range claimed {
		ids[i] = e.EventBase().EventID
	}
	return claimed, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, id := range ids {
			delete(f.ids, id)
		}
	}
}
