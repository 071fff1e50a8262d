package eventbus

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
)

// replayer returns the publisher through which letters are replayed: the
// bus's own; in memory, one that hands the message to the bus itself.
func (b *Bus) replayer() message.Publisher {
	if b.direct {
		return loopback{b}
	}
	return keptOpen{b.cfg.Publisher}
}

// loopback is the wire of the in-memory bus, for messages that come from a
// letter and not from an event.
type loopback struct{ bus *Bus }

// Publish returns when every handler that the messages are meant for has run.
// A letter of another bus, from a store that several share, is refused: here
// it would be skipped, and nobody else gets it.
func (l loopback) Publish(topic string, msgs ...*message.Message) error {
	b := l.bus
	if topic != b.cfg.Topic {
		return fmt.Errorf("eventbus: the letter goes to %s, this bus is in memory and named %s: replay it there", clip(topic), b.cfg.Topic)
	}
	for _, msg := range msgs {
		if t, _ := dlq.ReplayTarget(msg); t.Group != "" && t.Group != b.cfg.Group {
			return fmt.Errorf("eventbus: the letter is for the group %s, this bus is in memory and of the group %s: replay it there, or for everyone", clip(t.Group), b.cfg.Group)
		}
		if err := l.take(msg); err != nil {
			return err
		}
	}
	return nil
}

func (l loopback) take(msg *message.Message) error {
	nested := l.bus.nested(msg.Context())
	if !l.bus.gate.enter(nested) {
		return ErrClosed
	}
	defer l.bus.gate.leave(nested)
	return l.bus.take(msg)
}

// Close does nothing: the bus is its owner's.
func (loopback) Close() error { return nil }

// keptOpen is a publisher that somebody else closes.
type keptOpen struct{ message.Publisher }

// Close does nothing.
func (keptOpen) Close() error { return nil }
