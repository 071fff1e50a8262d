package lanes_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/leat-go/leat/internal/lanes"
)

type item struct {
	key string
	n   int
}

func TestLanes_OneKeyIsReleasedOneAtATimeAndInOrder(t *testing.T) {
	l := lanes.New[item](4)
	l.Add("a", item{"a", 1})
	l.Add("a", item{"a", 2})
	l.Add("b", item{"b", 1})

	key, first, _ := l.Take()
	_, second, _ := l.Take()

	if first != (item{"a", 1}) || second != (item{"b", 1}) {
		t.Fatalf("took %v then %v, want a1 then b1: a2 waits for a1", first, second)
	}
	l.Done(key)
	if _, third, _ := l.Take(); third != (item{"a", 2}) {
		t.Fatalf("after Done(a) took %v, want a2", third)
	}
}

func TestLanes_OneWorkerKeepsTheOrderOfTheStream(t *testing.T) {
	l := lanes.New[item](1)
	in := []item{{"a", 1}, {"a", 2}, {"b", 1}, {"", 1}, {"a", 3}}
	for _, it := range in {
		l.Add(it.key, it)
	}
	var out []item
	for range in {
		key, it, _ := l.Take()
		out = append(out, it)
		l.Done(key)
	}
	if !slices.Equal(in, out) {
		t.Errorf("order = %v, want %v", out, in)
	}
}

func TestLanes_AddAllAddsInOrderAndUnderTheKeys(t *testing.T) {
	l := lanes.New[item](2)
	keyOf := func(it item) string { return it.key }
	if !l.AddAll([]item{{"a", 1}, {"a", 2}, {"b", 1}}, keyOf) {
		t.Fatal("refused")
	}
	if n := l.Ready(); n != 2 {
		t.Errorf("%d are ready, want a1 and b1", n)
	}
	key, first, _ := l.Take()
	_, second, _ := l.Take()
	l.Done(key)
	_, third, _ := l.Take()
	if first != (item{"a", 1}) || second != (item{"b", 1}) || third != (item{"a", 2}) {
		t.Errorf("took %v, %v, %v, want a1, b1, and after Done(a) a2", first, second, third)
	}
	l.Close()
	if l.AddAll([]item{{"c", 1}}, keyOf) {
		t.Error("AddAll after Close took the items")
	}
}

func TestLanes_CloseWakesWorkersAndReturnsWhatWasNeverTaken(t *testing.T) {
	l := lanes.New[item](2)
	l.Add("a", item{"a", 1})
	l.Add("a", item{"a", 2})
	l.Add("b", item{"b", 1})
	key, _, _ := l.Take()

	left := l.Close()

	if len(left) != 2 {
		t.Errorf("left = %v, want a2 and b1", left)
	}
	l.Done(key)
	if _, _, ok := l.Take(); ok {
		t.Error("Take after Close gave an item")
	}
	if l.Add("c", item{}) {
		t.Error("Add after Close took the item")
	}
	if again := l.Close(); again != nil {
		t.Errorf("second Close = %v, want nil", again)
	}
}

// Random keys through racing workers: per key in order, never two at once.
func TestLanes_OrderHoldsUnderRacingWorkers(t *testing.T) {
	const workers, keys, perKey = 8, 40, 60
	l := lanes.New[item](workers)
	var mu sync.Mutex
	seen := map[string][]int{}
	running := map[string]int{}
	var wg, handled sync.WaitGroup
	handled.Add(keys * perKey)
	for range workers {
		wg.Go(func() {
			for {
				key, it, ok := l.Take()
				if !ok {
					return
				}
				mu.Lock()
				running[key]++
				if running[key] > 1 {
					t.Errorf("two of key %s at once", key)
				}
				seen[key] = append(seen[key], it.n)
				mu.Unlock()
				mu.Lock()
				running[key]--
				mu.Unlock()
				l.Done(key)
				handled.Done()
			}
		})
	}
	next := make([]int, keys)
	for _, k := range rand.Perm(keys * perKey) {
		k %= keys
		l.Add(fmt.Sprint("k", k), item{fmt.Sprint("k", k), next[k]})
		next[k]++
	}
	handled.Wait()
	queued, taken := l.Len()
	l.Close()
	wg.Wait()
	if queued != 0 || taken != 0 {
		t.Errorf("queued %d, taken %d after all, want 0, 0", queued, taken)
	}
	for key, ns := range seen {
		if len(ns) != perKey || !slices.IsSorted(ns) {
			t.Errorf("key %s: %v", key, ns)
		}
	}
}

func BenchmarkLanes(b *testing.B) {
	l := lanes.New[item](8)
	b.ReportAllocs()
	for b.Loop() {
		l.Add("k", item{n: 1})
		key, _, _ := l.Take()
		l.Done(key)
	}
}
