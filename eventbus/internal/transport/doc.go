// Package transport is what the transports of the brokers' backends have in
// common, and what has nothing to do with a broker: how a subscription ends, how
// a message that kills its processes is buried, how trouble is logged and waited
// out, how a URL is shown, and how the problems of a configuration are told.
//
// It is for the backends below eventbus alone. What differs between brokers
// stays with them.
package transport
