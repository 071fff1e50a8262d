package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

// Burial puts messages that were delivered too often among the dead letters.
// They never reach a handler, nor the middleware: any of them may be what such a
// message kills. All fields but OnDead are required.
type Burial struct {
	To     dlq.Burier
	OnDead func(dlq.Letter) // nil: nobody is told
	Buried *atomic.Int64    // counts, before OnDead is told
	Log    *slog.Logger
	Why    string // the line that is logged for each letter
}

// Bury returns true when the letter is confirmed; then its message is to be
// acknowledged. A burial that fails is tried again, until retry ends: then it
// returns false, and nothing is lost. live bounds each attempt, beside
// middleware.DefaultBuryTimeout.
func (b Burial) Bury(live, retry context.Context, letter dlq.Letter) bool {
	var pause Backoff
	for {
		letter.BuriedAt = time.Now().UTC()
		id, err := b.attempt(live, letter)
		if err == nil {
			letter.ID = id
			break
		}
		b.Log.Error("burial failed, trying again", append(about(letter), "error", err)...)
		if !pause.Wait(retry) {
			return false
		}
	}
	b.Log.Error(b.Why, append(about(letter), "deliveries", letter.Attempts)...)
	b.Buried.Add(1)
	b.tell(letter)
	return true
}

// attempt buries once. A store that panics or ends its goroutine has failed: on a
// worker, nobody else would catch that.
func (b Burial) attempt(live context.Context, letter dlq.Letter) (id string, err error) {
	ctx, cancel := context.WithTimeout(live, middleware.DefaultBuryTimeout)
	defer cancel()
	err = errors.New("the store ended its goroutine")
	apart(func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the store panicked: %v", p)
			}
		}()
		id, err = b.To.Bury(ctx, letter)
	})
	return id, err
}

// apart calls f on a goroutine that it may end, and waits.
func apart(f func()) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	<-over
}

// tell calls OnDead. A panic in it, or the end of its goroutine, must not keep
// the message from being acknowledged: its letter is there already.
func (b Burial) tell(letter dlq.Letter) {
	if b.OnDead == nil {
		return
	}
	apart(func() {
		defer func() {
			if p := recover(); p != nil {
				b.Log.Error("hook panicked", append(about(letter), "hook", "OnDead", "error", fmt.Sprint(p))...)
			}
		}()
		b.OnDead(letter)
	})
}

// about tells in a log which event it is, and its trace, where it has one.
func about(l dlq.Letter) []any {
	facts := []any{"event_id", l.MessageID, "event_type", l.EventType()}
	carried := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier(l.Metadata))
	if span := trace.SpanContextFromContext(carried); span.IsValid() {
		facts = append(facts, "trace_id", span.TraceID().String())
	}
	return facts
}

// OverLimit returns the letter of a message that was delivered more often than
// most allows: what is known about one that kills its consumers. backend names
// the package in the letter's error type. The delivery that found it so is not
// counted.
func OverLimit(backend string, m *message.Message, d *middleware.Delivery, group string, most int) dlq.Letter {
	l := dlq.NewLetter(m)
	l.Key = d.Key
	l.Reason = dlq.ReasonDeliveryLimit
	l.Attempts = d.Count - 1
	l.ErrorType = backend + ".DeliveryLimit"
	l.ErrorMessage = fmt.Sprintf("delivered %d times without being finished, at most %d are allowed", l.Attempts, most)
	l.Group = group
	l.Source = d.Source()
	l.Host, _ = os.Hostname() // empty when the machine has no name
	return l
}

// Drop is the Burier of a bus without dead letters: what would be one goes into
// the log. A nil Log discards it.
type Drop struct{ Log *slog.Logger }

// Bury drops the letter and returns nil.
func (d Drop) Bury(_ context.Context, l dlq.Letter) (string, error) {
	if d.Log != nil {
		d.Log.Error("event dropped, dead letters are disabled", append(about(l),
			"topic", l.Source.Topic, "group", l.Group, "error", fmt.Sprintf("%s: %s", l.Reason, l.ErrorMessage))...)
	}
	return "", nil
}
