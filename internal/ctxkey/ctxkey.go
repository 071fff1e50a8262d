// Package ctxkey holds context keys that packages above and below middleware
// share, so that a context type of eventbus can answer for them without
// an allocation for each event.
package ctxkey

// Handler is the key of the handler's name, a string. See
// middleware.HandlerName.
type Handler struct{}

// Delivery is the key of a *middleware.Delivery; see middleware.DeliveryFrom.
type Delivery struct{}

// Attempt is the key of the number of an attempt, an int; see
// middleware.Attempt.
type Attempt struct{}

// Group is the key of the consumer group, a string, of a delivery whose
// transport does not tell it.
type Group struct{}

// Exits is the key of anything but nil where somebody sees to a message whose
// handler ends its goroutine.
type Exits struct{}
