package proxy

import "time"

// precise is the part of a wait that is left to [nap]: the runtime's timers may
// be a millisecond late, which is more than the delay of a local network.
const precise = 2 * time.Millisecond

// waitUntil returns at the given time, or earlier and with false when ended is
// closed.
func waitUntil(due time.Time, ended <-chan struct{}) bool {
	if left := time.Until(due); left > precise {
		timer := time.NewTimer(left - precise)
		defer timer.Stop()

		select {
		case <-timer.C:
		case <-ended:
			return false
		}
	}
	if left := time.Until(due); left > 0 {
		nap(left)
	}

	return true
}
