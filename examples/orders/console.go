package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leat-go/leat/eventbus"
)

// console writes to a person: results to out, everything else to err. Its
// methods may be called from many goroutines.
type console struct {
	mu       sync.Mutex
	out, err io.Writer
	tty      bool // err is a terminal: the progress may be drawn over
	status   string
}

// print writes to out.
func (c *console) print(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, format, args...)
}

// tell writes a line to err, above the progress.
func (c *console) tell(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != "" {
		fmt.Fprint(c.err, "\r\x1b[K")
	}
	fmt.Fprintf(c.err, format+"\n", args...)
	fmt.Fprint(c.err, c.status)
}

// did is what handlers say in the story.
func (c *console) did(handler string, e eventbus.Event, format string, args ...any) {
	b := e.EventBase()
	c.print("     %-10s %-14s %-5s %s\n", handler, b.EventType, b.AggregateID, fmt.Sprintf(format, args...))
}

// progress shows what status says until the returned function is called: ten
// times a second in place on a terminal, else a line every five seconds.
func (c *console) progress(status func() string) (stop func()) {
	every := 5 * time.Second
	if c.tty {
		every = 100 * time.Millisecond
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.draw(status())
			case <-done:
				if c.tty {
					c.draw(status())
					c.mu.Lock()
					defer c.mu.Unlock()
					fmt.Fprintln(c.err)
					c.status = ""
				}
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (c *console) draw(status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.tty {
		fmt.Fprintln(c.err, status)
		return
	}
	c.status = status
	fmt.Fprint(c.err, "\r\x1b[K"+status)
}

// thousands writes a number as people read it: 12,345.
func thousands[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}
