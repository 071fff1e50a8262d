package brokers

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress writes lines for people, each with the seconds since the beginning.
type progress struct {
	began time.Time

	mu sync.Mutex
	w  io.Writer
}

func newProgress(w io.Writer) *progress { return &progress{began: time.Now(), w: w} }

func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()

	_, _ = fmt.Fprintf(p.w, "brokers: %5.1fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}
