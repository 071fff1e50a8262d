package middleware

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestBackoff_DoublesUpToTheLimit(t *testing.T) {
	t.Parallel()
	b := backoffPlan{base: time.Second, limit: 10 * time.Second, multiplier: 2}
	for n, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second,
		63: 10 * time.Second, 64: 10 * time.Second, 65: 10 * time.Second, 5000: 10 * time.Second, math.MaxInt: 10 * time.Second,
		0: time.Second, -1: time.Second,
	} {
		if got := b.delay(n, 0.99); got != want {
			t.Errorf("wait %d = %v, want %v", n, got, want)
		}
	}
}

// For random plans: every wait is within the jitter's fraction around the exact
// one, the exact ones never shrink and never pass the limit, and the jitter is
// symmetric: r and 1-r lie at equal distances on either side.
func TestBackoff_Properties(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		b := backoffPlan{
			base:       time.Duration(1 + random.Int64N(int64(time.Hour))),
			multiplier: 1 + random.Float64()*float64(random.IntN(1000)),
			jitter:     random.Float64(),
		}
		b.limit = b.base + time.Duration(random.Int64N(int64(1000*time.Hour)))
		if random.IntN(10) == 0 {
			b.limit = math.MaxInt64
		}
		n := 1 + random.IntN(100)
		if random.IntN(10) == 0 {
			n = random.Int()
		}
		exact := backoffPlan{base: b.base, limit: b.limit, multiplier: b.multiplier}
		middle, next := exact.delay(n, random.Float64()), exact.delay(n+1, random.Float64())
		if n == math.MaxInt {
			next = middle
		}
		if middle < 0 || middle > b.limit || next < middle {
			t.Fatalf("%+v: wait %d is %v, the next %v", b, n, middle, next)
		}
		if n == 1 && middle != b.base {
			t.Fatalf("%+v: the first wait is %v", b, middle)
		}
		r := random.Float64()
		low, high := b.delay(n, r), b.delay(n, 1-r)
		slack := float64(middle)*1e-9 + 2
		span := b.jitter * float64(middle)
		for _, d := range []time.Duration{low, high} {
			if d < 0 || (d < math.MaxInt64 && math.Abs(float64(d-middle)) > span+slack) {
				t.Fatalf("%+v: wait %d is %v, want %v +- %v", b, n, d, middle, time.Duration(span))
			}
		}
		if low < math.MaxInt64 && high < math.MaxInt64 && math.Abs(float64(low)+float64(high)-2*float64(middle)) > 2*slack {
			t.Fatalf("%+v: wait %d: %v and %v do not lie symmetrically around %v", b, n, low, high, middle)
		}
	}
}

// The jitter that Retry really uses is spread over its whole span, both sides.
func TestBackoff_JitterIsUsed(t *testing.T) {
	t.Parallel()
	_, b := Retry{BaseDelay: time.Second}.plan()
	below, above := 0, 0
	for range 1000 {
		switch d := b.delay(1, rand.Float64()); {
		case d < 900*time.Millisecond || d > 1100*time.Millisecond:
			t.Fatalf("wait %v, want 1s +- 10%%", d)
		case d < time.Second:
			below++
		case d > time.Second:
			above++
		}
	}
	if below < 400 || above < 400 {
		t.Errorf("%d waits below and %d above the exact one, want about 500 each", below, above)
	}
}

func TestRetry_PlanFillsInDefaults(t *testing.T) {
	t.Parallel()
	usual := backoffPlan{base: time.Second, limit: time.Minute, multiplier: 2, jitter: 0.1}
	with := func(change func(*backoffPlan)) backoffPlan {
		p := usual
		change(&p)
		return p
	}
	for name, tc := range map[string]struct {
		r     Retry
		max   int
		waits backoffPlan
	}{
		"zero":         {Retry{}, 3, usual},
		"off":          {Retry{MaxRetries: NoRetries, Jitter: NoJitter}, 0, with(func(p *backoffPlan) { p.jitter = 0 })},
		"own":          {Retry{MaxRetries: 7, BaseDelay: 2, MaxDelay: 5, Multiplier: 3, Jitter: 1}, 7, backoffPlan{2, 5, 3, 1}},
		"long base":    {Retry{BaseDelay: time.Hour}, 3, with(func(p *backoffPlan) { p.base, p.limit = time.Hour, time.Hour })},
		"invalid":      {Retry{MaxRetries: -9, BaseDelay: -1, MaxDelay: -1, Multiplier: 0.5, Jitter: 7}, 3, usual},
		"not a number": {Retry{Multiplier: math.NaN(), Jitter: math.NaN()}, 3, usual},
	} {
		if m, waits := tc.r.plan(); m != tc.max || waits != tc.waits {
			t.Errorf("%s: %d retries, %+v; want %d, %+v", name, m, waits, tc.max, tc.waits)
		}
	}
}
