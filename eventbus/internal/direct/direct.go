// Package direct holds the two doors between eventbus and its own transports
// that are not in the public API: the mark of the in-memory bus ([Transport]), a
// Publisher that eventbus recognises and serves by calling the handlers itself,
// without a wire between; and the offer to a transport to call the bus's handler
// itself ([Own], [Call]).
package direct

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Transport is the mark. Its methods are never called by eventbus.
type Transport struct{}

var errNoWire = errors.New("direct: the in-memory bus has no wire")

// Publish refuses.
func (Transport) Publish(string, ...*message.Message) error { return errNoWire }

// Subscribe refuses.
func (Transport) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return nil, errNoWire
}

// Close does nothing.
func (Transport) Close() error { return nil }
