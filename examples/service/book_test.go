package main

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"sync"
	"testing"
	"time"
)

// book is what processes told in their logs.
type book struct {
	mu        sync.Mutex
	addresses map[string]string         // by process
	last      map[string]line           // "stopped", by process
	handled   map[string]map[string]int // how often, by handler and event id
	by        map[string]map[string]int // the same, by process and event id
	other     []string                  // not at level info
}

// line is a line of the log.
type line struct {
	Level, Msg, Addr, Handler string
	EventID                   string `json:"event_id"`
	Handled, Published        int
	Finished                  int
	HandedBack                int `json:"handed_back"`
}

func newBook() *book {
	return &book{
		addresses: map[string]string{}, last: map[string]line{},
		handled: map[string]map[string]int{"send-invoice": {}, "reserve-stock": {}, "thank": {}}, by: map[string]map[string]int{},
	}
}

// read reads the log of a process to its end.
func (b *book) read(r io.Reader, process string) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		b.note(process, lines.Bytes())
	}
}

func (b *book) note(process string, text []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Level != "INFO" {
		b.other = append(b.other, process+": "+string(text))
		return
	}
	switch l.Msg {
	case "ready":
		b.addresses[process] = l.Addr
	case "stopped":
		b.last[process] = l
	case "handled":
		b.handled[l.Handler][l.EventID]++
		if b.by[process] == nil {
			b.by[process] = map[string]int{}
		}
		b.by[process][l.EventID]++
	}
}

// address waits until the process is ready.
func (b *book) address(t *testing.T, process string) (addr string) {
	t.Helper()
	await(t, process+" is ready", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		addr = b.addresses[process]
		return addr != ""
	})
	return addr
}

// count returns how many events the handler has handled.
func (b *book) count(handler string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.handled[handler])
}

// of returns what a handler has handled.
func (b *book) of(handler string) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.handled[handler])
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	for !ok() {
		select {
		case <-late:
			t.Fatal("not in a minute: " + what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
