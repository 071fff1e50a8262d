package rivals_test

import (
	"testing"
	"time"

	"github.com/leat-go/leat/integration/rivals"
)

// took returns a rival whose rounds take these times, over and over.
func took(name string, events int, rounds ...time.Duration) rivals.Rival {
	i := 0
	return rivals.Rival{Name: name, Events: events, Run: func(n int) rivals.Cost {
		c := rivals.Cost{Took: rounds[i%len(rounds)], CPU: time.Duration(n) * time.Millisecond, Mallocs: uint64(10 * n)}
		i++
		return c
	}}
}

func TestCompare_ReportsMediansAndTheSpread(t *testing.T) {
	if testing.Short() {
		t.Skip("one round has no spread")
	}
	got := testing.Benchmark(func(b *testing.B) {
		b.Helper()
		rivals.Compare(b, 3,
			took(rivals.Leat, 100, time.Second, 2*time.Second, 4*time.Second), // 100, 50, 25 a second
			took("stock", 10, time.Second, time.Second, time.Second),          // 10, 10, 10
		)
	}).Extra
	for unit, want := range map[string]float64{
		"leat/s": 50, "stock/s": 10, "x-stock": 5, "low-stock": 2.5, "high-stock": 10, "cpu-stock": 1, "allocs-stock": 1,
	} {
		if got[unit] != want {
			t.Errorf("%s = %v, want %v", unit, got[unit], want)
		}
	}
	if n := len(got); n != 8 { // and ns/op
		t.Errorf("%d metrics, want 8: %v", n, got)
	}
}

func TestMeter_MetersTheFunctionAlone(t *testing.T) {
	var keep [][]byte
	c := rivals.Meter(func() {
		for range 1000 {
			keep = append(keep, make([]byte, 64))
		}
	})
	if c.Mallocs < 1000 || c.Mallocs > 2000 || len(keep) != 1000 {
		t.Errorf("%d allocations, want about 1000", c.Mallocs)
	}
	if c.Took <= 0 || c.CPU < 0 {
		t.Errorf("took %v, processor time %v", c.Took, c.CPU)
	}
}
