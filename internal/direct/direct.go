// Package direct marks the in-memory bus: a Publisher that eventbus recognises
// and serves by calling the handlers itself, without a wire between. It keeps
// that door out of the public API: only membus opens it.
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
