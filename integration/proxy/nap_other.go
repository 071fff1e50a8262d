//go:build !linux

package proxy

import "time"

// nap is as good as the runtime's timers.
func nap(d time.Duration) { <-time.After(d) }
