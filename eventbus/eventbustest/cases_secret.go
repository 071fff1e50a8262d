package eventbustest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leat-go/leat/dlq"
)

func secretCases() []Case {
	return []Case{
		{
			Name: "SecretsShowNowhere", Laws: []int{12}, Need: []Feature{Secrets}, run: secretsShowNowhere,
			Why: "no password, and no user info of a URL, is in logs, errors, spans, letters or descriptions",
		},
		{
			Name: "PayloadsAreNotLogged", Laws: []int{12}, run: payloadsAreNotLogged,
			Why: "what an event carries is not in logs, errors or spans, whatever becomes of it",
		},
	}
}

// exercise lets a bus do and fail all that makes it talk, and returns every
// text that came out, by where it did.
func (s *session) exercise(canary string) map[string]string {
	s.Helper()
	book := &spanBook{}
	n := s.start(func(o *Options) { o.TracerProvider = book })
	n.on("failing", func(context.Context, placed) error { return errPlanned })
	n.on("panicking", func(context.Context, placed) error { panic("planned") })
	texts := map[string]string{}
	note := func(where string, what any) {
		texts[where] += fmt.Sprintf("%v %+v", what, what)
		if err, ok := what.(error); ok {
			texts[where] += fmt.Sprintf(" %q", err)
		}
	}
	e := place("k", 1)
	e.Text, e.Metadata = canary, map[string]any{"note": canary}
	n.publish(e)
	n.consumed(1)
	bad := place("k", 2)
	bad.Text, bad.AggregateType = canary, "not valid"
	note("an error of Publish", n.Bus.Publish(s.ctx(), bad, e))
	if s.has(Stalling) {
		release := n.stall()
		ctx, cancel := context.WithTimeout(s.ctx(), 20*time.Millisecond)
		note("an error of Publish at its deadline", n.Bus.Publish(ctx, e))
		cancel()
		release()
	}
	_, err := n.Bus.SubscribeToAllEvents("failing", &Recorder{})
	note("an error of Subscribe", err)
	if s.has(Letters) {
		for l, err := range n.Bus.DeadLetters().List(s.ctx(), dlq.Query{}) {
			l.Payload = nil // is the event itself
			note("a letter", l)
			note("an error of List", err)
		}
		note("an error of Get", n.Bus.DeadLetters().Replay(s.ctx(), "no-such-letter"))
	}
	if s.has(Injection) {
		before := n.Bus.Stats().EventsConsumed
		msg := raw(placedName, []byte(`{"event_id":"1","text":"`+canary))
		s.inject(msg)
		s.until("the broken message consumed", func() bool { return n.Bus.Stats().EventsConsumed > before }, func() any { return n.Bus.Stats() })
	}
	note("the description", n.Bus.Chain())
	note("the statistics", n.Bus.Stats())
	n.stop()
	_, refused := s.tryOpen(func(o *Options) { o.Topic = "not a topic" })
	note("an error of Open", refused)
	note("an error of a closed bus", n.Bus.Publish(s.ctx(), e))
	if s.h.OpenUnreachable != nil {
		s.unreachable(e, note)
	}
	for _, span := range book.named("") {
		note("a span", span.name)
		note("a span's attributes", span.attrs)
	}
	for _, record := range s.logs.find(-8, "") {
		note("the log", record)
	}
	return texts
}

// unreachable notes what a bus without its broker says.
func (s *session) unreachable(e *placed, note func(where string, what any)) {
	s.Helper()
	in, err := s.h.OpenUnreachable(s.TB, s.options())
	note("an error of Open without a broker", err)
	if in.Bus == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx(), s.h.Patience/4)
	defer cancel()
	note("an error of Publish without a broker", in.Bus.Publish(ctx, e))
	_, err = in.Bus.DeadLetters().Count(ctx)
	note("an error of Count without a broker", err)
	_, err = in.Bus.Shutdown(ctx)
	note("an error of Shutdown without a broker", err)
}

func secretsShowNowhere(s *session) {
	for where, text := range s.exercise("harmless") {
		for _, secret := range s.h.Secrets {
			if i := strings.Index(text, secret); i >= 0 {
				s.Errorf("%s shows a secret: ...%s...", where, text[max(0, i-60):min(len(text), i+len(secret)+20)])
			}
		}
	}
}

func payloadsAreNotLogged(s *session) {
	const canary = "canary-c0ffee-of-the-payload"
	for where, text := range s.exercise(canary) {
		if i := strings.Index(text, canary); i >= 0 {
			s.Errorf("%s shows what an event carries: ...%s...", where, text[max(0, i-60):min(len(text), i+len(canary)+20)])
		}
	}
}
