package lanes

// fifo is a growing ring buffer. It keeps its largest size, up to a bound, so
// that a steady stream allocates nothing.
type fifo[T any] struct {
	ring  []T
	start int
	n     int
}

// keep is the capacity above which an emptied ring is given back.
const keep = 1024

func (f *fifo[T]) len() int { return f.n }

func (f *fifo[T]) push(v T) {
	if f.n == len(f.ring) {
		grown := make([]T, max(4, 2*len(f.ring)))
		for i := range f.n {
			grown[i] = f.ring[(f.start+i)%len(f.ring)]
		}
		f.ring, f.start = grown, 0
	}
	f.ring[(f.start+f.n)%len(f.ring)] = v
	f.n++
}

// pop must not be called on an empty fifo.
func (f *fifo[T]) pop() T {
	var zero T
	v := f.ring[f.start]
	f.ring[f.start] = zero
	f.start = (f.start + 1) % len(f.ring)
	f.n--
	if f.n == 0 {
		f.start = 0
		if len(f.ring) > keep {
			f.ring = nil
		}
	}
	return v
}
