package main

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/leat-go/leat/eventbus"
)

// note is one line that a worker process writes. The first one says who it is,
// then comes one for each handler that has handled an event, then the final.
type note struct {
	Consumer string `json:"consumer,omitempty"`
	Process  int    `json:"process,omitempty"`

	Event   string `json:"event,omitempty"`
	Handler string `json:"handler,omitempty"`

	Final *final `json:"final,omitempty"`
}

// final is what a process has to say when it has drained.
type final struct {
	Stats    eventbus.Stats          `json:"stats"`
	Handlers []eventbus.HandlerStats `json:"handlers"`
	Outcome  outcome                 `json:"outcome"`
	Drained  eventbus.Report         `json:"drained"`
}

// add makes f the sum of both, as far as it is shown.
func (f *final) add(g final) {
	f.Stats.EventsPublished += g.Stats.EventsPublished
	f.Stats.EventsConsumed += g.Stats.EventsConsumed
	f.Stats.EventsProcessedSuccess += g.Stats.EventsProcessedSuccess
	f.Stats.EventsProcessedFailed += g.Stats.EventsProcessedFailed
	f.Stats.EventsSkipped += g.Stats.EventsSkipped
	f.Stats.HandlersInvoked += g.Stats.HandlersInvoked
	f.Stats.HandlerErrors += g.Stats.HandlerErrors
	f.Stats.Retries += g.Stats.Retries
	f.Stats.MessagesSentToDLQ += g.Stats.MessagesSentToDLQ
	for i := range f.Handlers { // the same ones, in the same order: it is the same program
		if i < len(g.Handlers) {
			f.Handlers[i].Invoked += g.Handlers[i].Invoked
			f.Handlers[i].Errors += g.Handlers[i].Errors
			f.Handlers[i].Retries += g.Handlers[i].Retries
			f.Handlers[i].DeadLetters += g.Handlers[i].DeadLetters
		}
	}
	f.Outcome.add(g.Outcome)
	f.Drained.Finished += g.Drained.Finished
	f.Drained.HandedBack += g.Drained.HandedBack
}

// notebook writes notes, from many goroutines. Each is one write, so that a
// kill leaves whole lines; when nobody reads any more they go nowhere.
type notebook struct {
	mu   sync.Mutex
	to   io.Writer
	gone bool
}

func (b *notebook) write(n note) {
	text, err := json.Marshal(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && !b.gone {
		_, err = b.to.Write(append(text, '\n'))
		b.gone = err != nil
	}
}
