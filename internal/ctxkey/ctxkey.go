// Package ctxkey holds context keys that packages above and below middleware
// share, so that a context type of eventbus can answer for them without
// an allocation for each event.
package ctxkey

// Handler is the key of the handler's name, a string. See
// middleware.HandlerName.
type Handler struct{}
