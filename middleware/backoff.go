package middleware

import (
	"math"
	"time"
)

// backoffPlan computes waits: base, base*multiplier, ... up to limit, each then
// moved by at most its jitter fraction in either direction.
type backoffPlan struct {
	base       time.Duration
	limit      time.Duration
	multiplier float64
	jitter     float64 // 0..1
}

// delay is the wait after the n-th failure, n from 1. random is from [0, 1).
// The jitter is symmetric around the capped wait, so the longest wait is
// limit*(1+jitter): cut at the limit, all messages that reached it would come
// back together, which jitter is there to prevent.
func (b backoffPlan) delay(n int, random float64) time.Duration {
	// In floating point a huge power is +Inf, which the cap makes finite; in
	// integers it would wrap around.
	d := float64(b.base) * math.Pow(b.multiplier, float64(max(n, 1)-1))
	if limit := float64(b.limit); !(d < limit) {
		d = limit
	}
	d += d * b.jitter * (2*random - 1)
	if d >= math.MaxInt64 {
		return math.MaxInt64
	}
	return max(time.Duration(d), 0)
}
