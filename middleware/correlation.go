package middleware

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// Correlation is a [message.HandlerMiddleware] that tells the messages which a
// handler returns where they come from: the correlation id of the handled
// message (its own id, if it has none and so begins the story), and its id as
// the cause. What a produced message says already is left alone.
func Correlation(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		produced, err := h(msg)
		if len(produced) == 0 {
			return produced, err
		}
		cause := msg.Metadata[wire.EventID]
		if cause == "" {
			cause = msg.UUID
		}
		story := msg.Metadata[wire.CorrelationID]
		if story == "" {
			story = cause
		}
		for _, p := range produced {
			if p == nil || p == msg { // a handler may pass on what it got
				continue
			}
			fillIn(p, wire.CorrelationID, story)
			fillIn(p, wire.CausationID, cause)
		}
		return produced, err
	}
}

func fillIn(m *message.Message, key, value string) {
	if value == "" || m.Metadata[key] != "" {
		return
	}
	if m.Metadata == nil {
		m.Metadata = make(message.Metadata)
	}
	m.Metadata[key] = value
}
