package redisbus_test

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// pace is how many events a second are due in the benchmarks of latency.
const pace = 5000

func BenchmarkLatencyAt5000ASecond(b *testing.B) { latency(b, 0) }

func BenchmarkLatencyAt5000ASecond_800us(b *testing.B) { latency(b, 800*time.Microsecond) }

// latency publishes events one by one at a pace, and takes the time from when
// each was due until it is handled: a bus that cannot keep up is late with all
// that follow. 64 publishers share the work, so that none waits for another.
// behind is how long after the last event was due the last one was handled. The
// stock adapter handles a message a round trip or two: when that is less than
// the pace, its queue grows, and its p99 is about the length of the run.
func latency(b *testing.B, delay time.Duration) {
	b.Helper()
	x := newBench(b, delay)
	rounds, seconds := 5, 2
	switch {
	case testing.Short():
		rounds, seconds = 1, 1
	case delay > 0:
		rounds, seconds = 3, 1
	}
	for b.Loop() {
		p99, behind := map[string][]float64{}, map[string][]float64{}
		for range rounds {
			for name, start := range map[string]func() line{"leat": x.ourLine, "stock": x.stockLine} {
				took, late := x.paced(start(), seconds*pace)
				p99[name] = append(p99[name], float64(took[len(took)*99/100].Microseconds()))
				behind[name] = append(behind[name], float64(late.Milliseconds()))
			}
		}
		median := func(all []float64) float64 {
			slices.Sort(all)
			return all[len(all)/2]
		}
		for _, name := range []string{"leat", "stock"} {
			b.ReportMetric(median(p99[name]), name+"-p99-µs")
			b.ReportMetric(median(behind[name]), name+"-behind-ms")
		}
		b.ReportMetric(median(p99["leat"])/median(p99["stock"]), "p99-of-stock")
		b.ReportMetric(0, "ns/op")
	}
}

// paced returns the latencies of n events, sorted, and how long after the last
// one was due all were handled.
func (x *bench) paced(l line, n int) (sorted []time.Duration, behind time.Duration) {
	defer l.stop()
	l.publish(n, 1) // warm, and not counted
	<-l.handled
	due := make(chan int, n)
	var publishers sync.WaitGroup
	for range 64 {
		publishers.Go(func() {
			for i := range due {
				l.publish(i, 1)
			}
		})
	}
	const every = time.Second / pace
	began := time.Now().Add(10 * time.Millisecond)
	publishers.Go(func() {
		for i := range n {
			if wait := time.Until(began.Add(time.Duration(i) * every)); wait > 0 {
				<-time.After(wait)
			}
			due <- i
		}
		close(due)
	})
	sorted = make([]time.Duration, n)
	for range n {
		i := <-l.handled
		sorted[i] = time.Since(began.Add(time.Duration(i) * every))
	}
	behind = time.Since(began.Add(time.Duration(n) * every))
	publishers.Wait()
	slices.Sort(sorted)
	return sorted, behind
}
