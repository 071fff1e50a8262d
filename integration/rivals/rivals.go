// Package rivals runs the benchmarks that compare leat with others: all of them
// in one run and on one server, round after round, so that whatever else the
// machine does hits them alike.
package rivals

import (
	"cmp"
	"runtime"
	"slices"
	"testing"
	"time"
)

// Leat is the name of the rival whose ratios to the others are reported.
const Leat = "leat"

// Rival is one way to do the work.
type Rival struct {
	Name   string
	Events int // in a round
	// Run does the work for n events and returns what that took, without what
	// prepares it; see [Meter].
	Run func(n int) Cost
}

// Cost is what a round took.
type Cost struct {
	Took    time.Duration
	CPU     time.Duration // of this process; 0 where the system does not tell
	Mallocs uint64
}

// Meter runs f.
func Meter(f func()) Cost {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, began := cpuTime(), time.Now()
	f()
	took := time.Since(began)
	spent := cpuTime() - cpu
	runtime.ReadMemStats(&after)
	return Cost{took, spent, after.Mallocs - before.Mallocs}
}

// Compare runs the rivals in turn, rounds times (one with -short), and reports
// the medians: N/s for each, events a second; and for each other one
//
//	x-N       leat's events a second by N's
//	low-N, high-N  the least and the greatest of that ratio in one round
//	cpu-N     leat's processor time an event by N's: below 1 is less
//	allocs-N  leat's allocations an event by N's
//
// The time of the testing package itself means nothing: -benchtime=1x.
func Compare(b *testing.B, rounds int, rivals ...Rival) {
	b.Helper()
	if testing.Short() {
		rounds = 1
	}
	for b.Loop() {
		rates, cpus, mallocs := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
		for range rounds {
			for _, r := range rivals {
				c, n := r.Run(r.Events), float64(r.Events)
				rates[r.Name] = append(rates[r.Name], n/c.Took.Seconds())
				cpus[r.Name] = append(cpus[r.Name], c.CPU.Seconds()/n)
				mallocs[r.Name] = append(mallocs[r.Name], float64(c.Mallocs)/n)
			}
		}
		for _, r := range rivals {
			b.ReportMetric(median(rates[r.Name]), r.Name+"/s")
			if r.Name == Leat {
				continue
			}
			each := make([]float64, rounds)
			for i := range each {
				each[i] = rates[Leat][i] / rates[r.Name][i]
			}
			b.ReportMetric(median(rates[Leat])/median(rates[r.Name]), "x-"+r.Name)
			b.ReportMetric(slices.Min(each), "low-"+r.Name)
			b.ReportMetric(slices.Max(each), "high-"+r.Name)
			report(b, "cpu-"+r.Name, cpus[Leat], cpus[r.Name])
			report(b, "allocs-"+r.Name, mallocs[Leat], mallocs[r.Name])
		}
		b.ReportMetric(0, "ns/op")
	}
}

// report reports the ratio of two medians, unless the second is 0: not known.
func report(b *testing.B, unit string, ours, theirs []float64) {
	b.Helper()
	if by := median(theirs); by > 0 {
		b.ReportMetric(median(ours)/by, unit)
	}
}

// median leaves values as they are.
func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
