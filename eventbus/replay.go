package eventbus

import "github.com/ThreeDotsLabs/watermill/message"

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
func (l loopback) Publish(_ string, msgs ...*message.Message) error {
	b := l.bus
	for _, msg := range msgs {
		if !b.gate.enter(b.nested(msg.Context())) {
			return ErrClosed
		}
		err := b.handle(msg)
		b.gate.leave()
		if err != nil {
			return err
		}
	}
	return nil
}

// Close does nothing: the bus is its owner's.
func (loopback) Close() error { return nil }

// keptOpen is a publisher that somebody else closes.
type keptOpen struct{ message.Publisher }

// Close does nothing.
func (keptOpen) Close() error { return nil }
