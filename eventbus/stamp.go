package eventbus

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/internal/wire"
)

// maxIDBytes bounds the ids of an event: they become keys and headers.
const maxIDBytes = 200

// stamp checks an event at the door, and returns its base as it goes on the
// wire. The event itself is not touched: it is the caller's, who may be
// publishing it on another bus at this moment.
func (b *Bus) stamp(e Event) (*eventType, Base, error) {
	invalid := func(format string, args ...any) (*eventType, Base, error) {
		return nil, Base{}, fmt.Errorf("%w: "+format, append([]any{ErrInvalidEvent}, args...)...)
	}
	if e == nil {
		return invalid("it is nil")
	}
	if v := reflect.ValueOf(e); v.Kind() == reflect.Pointer && v.IsNil() {
		return invalid("it is a nil %T", e)
	}
	et := b.registry.of(e)
	if et == nil {
		return nil, Base{}, fmt.Errorf("%w: %T: declare it with eventbus.Register on the bus's registry", ErrUnregistered, e)
	}
	base := *e.EventBase()
	if base.EventID == "" || base.OccurredAt.IsZero() {
		return invalid("%s has no event id or no time: make its Base with eventbus.NewBase", et.name)
	}
	if base.AggregateID == "" {
		return invalid("%s has no aggregate id: name it in eventbus.NewBase", et.name)
	}
	if base.EventType != "" && base.EventType != et.name && b.registry.named(base.EventType) != et {
		return invalid("it says it is a %s, but %T is registered as %s: leave EventType empty", clip(base.EventType), e, et.name)
	}
	if y := base.OccurredAt.UTC().Year(); y < 1 || y > 9999 {
		return invalid("%s occurred in the year %d, which RFC 3339 cannot write", et.name, y)
	}
	for _, f := range [...]struct{ name, value string }{
		{wire.EventID, base.EventID},
		{wire.AggregateID, base.AggregateID},
		{wire.TenantID, base.TenantID},
		{wire.ActorID, base.ActorID},
		{wire.CorrelationID, base.CorrelationID},
		{wire.CausationID, base.CausationID},
	} {
		if err := checkID(f.value); err != nil {
			return invalid("%s of %s: %w", f.name, et.name, err)
		}
	}
	if base.AggregateType == "" {
		base.AggregateType = et.aggregate
	} else if base.AggregateType != et.aggregate {
		if err := checkName("aggregate type", base.AggregateType); err != nil {
			return invalid("%w", err)
		}
	}
	base.EventType = et.name
	if base.EventVersion == 0 {
		base.EventVersion = et.version
	}
	if base.AggregateVersion == 0 {
		base.AggregateVersion = 1
	}
	base.OccurredAt = base.OccurredAt.UTC().Truncate(time.Microsecond)
	return et, base, nil
}

var (
	errControl = errors.New("has a control character or is not UTF-8")
	errLongID  = fmt.Errorf("is longer than %d bytes", maxIDBytes)
)

func checkID(s string) error {
	if len(s) > maxIDBytes {
		return errLongID
	}
	ascii := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			return errControl
		} else if c >= utf8.RuneSelf {
			ascii = false
		}
	}
	if !ascii && !utf8.ValidString(s) {
		return errControl
	}
	return nil
}

// message encodes an event that was stamped.
func (b *Bus) message(e Event, base *Base) (*message.Message, error) {
	payload, err := b.encode(base, e)
	if err != nil {
		return nil, err
	}
	if len(payload) > b.cfg.MaxPayloadBytes {
		return nil, fmt.Errorf("%w: %d bytes encoded, the bus takes %d (Config.MaxPayloadBytes)", codec.ErrTooLarge, len(payload), b.cfg.MaxPayloadBytes)
	}
	msg := message.NewMessage(base.EventID, payload)
	msg.Metadata = metadata(base)
	return msg, nil
}

// encode survives what an event's own methods do, such as a MarshalJSON on a
// nil pointer: the event is refused.
func (b *Bus) encode(base *Base, e Event) (payload []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			payload, err = nil, fmt.Errorf("%w: encoding %T panicked: %v", ErrInvalidEvent, e, r)
		}
	}()
	return b.cfg.Codec.Encode((*codec.Header)(base), e)
}

// metadata returns the message metadata of an event, with room for the trace.
func metadata(base *Base) message.Metadata {
	md := make(message.Metadata, 14)
	md[wire.EventID] = base.EventID
	md[wire.EventType] = base.EventType
	md[wire.EventVersion] = strconv.Itoa(base.EventVersion)
	md[wire.AggregateID] = base.AggregateID
	md[wire.AggregateVersion] = strconv.FormatInt(base.AggregateVersion, 10)
	md[wire.OccurredAt] = occurredAt(base.OccurredAt)
	for _, f := range [...]struct{ key, value string }{
		{wire.AggregateType, base.AggregateType},
		{wire.TenantID, base.TenantID},
		{wire.ActorID, base.ActorID},
		{wire.CorrelationID, base.CorrelationID},
		{wire.CausationID, base.CausationID},
	} {
		if f.value != "" {
			md[f.key] = f.value
		}
	}
	return md
}

// occurredAt writes the time as headers have it: with microseconds or, like
// Python, with no fraction when there is none.
func occurredAt(t time.Time) string {
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05+00:00")
	}
	return t.Format(wire.OccurredAtLayout)
}

// fill completes the base of a decoded event from the message, for producers
// whose payload lacks what a message says beside it.
func fill(base *Base, msg *message.Message) {
	set := func(field *string, values ...string) {
		for _, v := range values {
			if *field == "" {
				*field = v
			}
		}
	}
	md := msg.Metadata
	set(&base.EventID, md[wire.EventID], msg.UUID)
	set(&base.AggregateID, md[wire.AggregateID])
	set(&base.AggregateType, md[wire.AggregateType])
	set(&base.TenantID, md[wire.TenantID])
	set(&base.ActorID, md[wire.ActorID])
	set(&base.CorrelationID, md[wire.CorrelationID])
	set(&base.CausationID, md[wire.CausationID])
	if base.OccurredAt.IsZero() {
		if t, err := time.Parse(time.RFC3339Nano, md[wire.OccurredAt]); err == nil {
			base.OccurredAt = t.UTC()
		}
	}
	if v, err := strconv.ParseInt(md[wire.AggregateVersion], 10, 64); err == nil && base.AggregateVersion == 0 {
		base.AggregateVersion = v
	}
	if v, err := strconv.Atoi(md[wire.EventVersion]); err == nil && base.EventVersion == 0 {
		base.EventVersion = v
	}
}
