package aggregate_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type Opened struct {
	eventbus.Base
	Owner string `json:"owner"`
}

type Moved struct {
	eventbus.Base
	Amount int      `json:"amount"`
	Tags   []string `json:"tags"`
}

// Account is the aggregate of these tests.
type Account struct {
	aggregate.Root
	owner   string
	balance int
	tags    map[string]int
}

var errOverdrawn = errors.New("overdrawn")

func (a *Account) Apply(e eventbus.Event) {
	switch e := e.(type) {
	case *Opened:
		a.owner = e.Owner
	case *Moved:
		a.balance += e.Amount
		for _, t := range e.Tags {
			if a.tags == nil {
				a.tags = map[string]int{}
			}
			a.tags[t]++
		}
	}
}

func (a *Account) Open(owner string) error { return aggregate.Raise(a, &Opened{Owner: owner}) }

func (a *Account) Move(amount int, tags ...string) error {
	if a.balance+amount < 0 {
		return errOverdrawn
	}
	return aggregate.Raise(a, &Moved{Amount: amount, Tags: tags})
}

// press is a publisher that notes what it got and fails as told.
type press struct {
	mu   sync.Mutex
	got  []eventbus.Event
	fail func(eventbus.Event) error
	hook func(context.Context, eventbus.Event)
}

func (p *press) Publish(ctx context.Context, events ...eventbus.Event) error {
	p.mu.Lock()
	fail, hook := p.fail, p.hook
	p.mu.Unlock()
	results := make([]eventbus.Result, len(events))
	bad := false
	for i, e := range events {
		if hook != nil {
			hook(ctx, e)
		}
		results[i].EventID = e.EventBase().EventID
		if fail != nil {
			if err := fail(e); err != nil {
				results[i].Err, results[i].Outcome, bad = err, eventbus.Refused, true
				continue
			}
		}
		p.mu.Lock()
		p.got = append(p.got, e)
		p.mu.Unlock()
	}
	if bad {
		return &eventbus.PublishError{Topic: "t", Results: results}
	}
	return nil
}

func (p *press) failing(f func(eventbus.Event) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = f
}

// versions returns what was published of an aggregate.
func (p *press) versions(id string) []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var vs []int64
	for _, e := range p.got {
		if b := e.EventBase(); b.AggregateID == id {
			vs = append(vs, b.AggregateVersion)
		}
	}
	return vs
}

func newRepository(t *testing.T, s aggregate.Store, p aggregate.Publisher) *aggregate.Repository[*Account] {
	t.Helper()
	r, err := aggregate.NewRepository(aggregate.Config[*Account]{
		Type: "Account", New: func() *Account { return &Account{} }, Store: s, Publisher: p,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func opened(t *testing.T, r *aggregate.Repository[*Account], id string, moves ...int) *Account {
	t.Helper()
	a := r.New(id)
	must(t, a.Open("ann"))
	for _, m := range moves {
		must(t, a.Move(m))
	}
	return a
}

func pending(t *testing.T, s aggregate.Store, id string) []int64 {
	t.Helper()
	var vs []int64
	for e, err := range s.Pending(t.Context(), aggregate.Stream{Type: "Account", ID: id}) {
		must(t, err)
		vs = append(vs, e.EventBase().AggregateVersion)
	}
	return vs
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, got, want []int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got versions %v, want %v", what, got, want)
	}
}
