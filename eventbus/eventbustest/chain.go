package eventbustest

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
)

// countPasses returns an option that counts, under the name "chain", how often
// each event passes the message chain.
func (s *session) countPasses(into *tally) func(*Options) {
	return func(o *Options) {
		o.Middleware = append(o.Middleware, func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				into.add("chain", &placed{Base: eventbus.Base{EventID: msg.UUID}})
				return next(msg)
			}
		})
	}
}
