package eventbus

import "log/slog"

// consuming says in the log that the bus consumes, and that nobody would notice:
// what comes before a handler is there is acknowledged and gone.
func (b *Bus) consuming() {
	b.log.Info("bus consumes", b.place()...)
	if len(b.subscriptions()) == 0 {
		b.log.Warn("bus has no handlers: what comes is acknowledged and skipped; call Subscribe before Run", b.place()...)
	}
}

// neverRan says so of a bus whose handlers waited for Run in vain.
func (b *Bus) neverRan() {
	if n := len(b.subscriptions()); n > 0 {
		b.log.Warn("bus shut down without Run: its handlers saw nothing", append(b.place(), slog.Int("handlers", n))...)
	}
}
