package router

import "github.com/ThreeDotsLabs/watermill/message"

// nackOnExit stands around every handler. One that ends its goroutine
// (runtime.Goexit; a test's FailNow does) takes along Watermill, which would
// settle the message: unsettled, it would hold up its key and every drain. The
// message is nacked, as Watermill does when a handler panics.
func nackOnExit(h message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		returned := false
		defer func() {
			if !returned {
				m.Nack()
			}
		}()
		produced, err := h(m)
		returned = true
		return produced, err
	}
}
