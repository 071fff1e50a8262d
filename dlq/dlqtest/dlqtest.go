// Package dlqtest checks that a [dlq.Store] keeps the promises of the interface.
// Every store of leat passes it, and so should yours:
//
//	func TestStore(t *testing.T) {
//		dlqtest.Run(t, func(t *testing.T) dlq.Store { return openMyStore(t) })
//	}
package dlqtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/dlq"
)

// Open returns an empty store for one case, and closes with t.Cleanup what
// there is to close.
type Open func(t *testing.T) dlq.Store

// Case is one promise. Run fails t with what was seen instead.
type Case struct {
	Name string                          // reads as a sentence without spaces
	Why  string                          // the promise, in one sentence
	Run  func(t *testing.T, s dlq.Store) // with an empty store
}

// Run checks all cases, each on a store of its own.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Helper()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the promise: %s", c.Why)
				}
			})
			c.Run(t, open(t))
		})
	}
}

// Cases returns the cases in the order in which Run checks them.
func Cases() []Case {
	return []Case{
		{"empty", "An empty store answers every question, with nothing.", empty},
		{"content", "A letter comes out with every field as it went in.", content},
		{"order", "A listing has every letter once, in order, from either end.", order},
		{"pages", "Pages join to the whole, also when the letter before is gone.", pages},
		{"not destructive", "Two listings at once see the same, and leave it there.", notDestructive},
		{"limit and filter", "A filter chooses exactly its letters; a limit counts those.", filters},
		{"delete", "Delete removes what it is told, and counts what there was.", deletes},
		{"purge", "Purge removes all and counts them; what comes later stays.", purge},
		{"ends", "A listing ends although letters come in meanwhile.", ends},
		{"ownership", "A letter in the store shares no memory with its giver or taker.", ownership},
		{"cancelled", "A dead context is an error, never an empty answer.", cancelled},
		{"concurrent", "All methods may be called at once.", concurrent},
	}
}

// Letter returns a letter with every field set, different for each n.
func Letter(n int) dlq.Letter {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC).Add(time.Duration(n) * time.Second)
	return dlq.Letter{
		MessageID:     fmt.Sprintf("message-%d", n),
		Key:           fmt.Sprintf("order-%d", n%7),
		Payload:       fmt.Appendf(nil, `{"n":%d,"note":"ü"}`, n),
		Metadata:      map[string]string{"event_type": []string{"OrderPaid", "OrderShipped"}[n%2], "n": fmt.Sprint(n)},
		Handlers:      []string{"send-invoice", fmt.Sprintf("handler-%d", n%3)},
		Reason:        dlq.ReasonMaxRetries,
		ErrorType:     "*errors.errorString",
		ErrorMessage:  fmt.Sprintf("no ink, attempt %d\nsecond line", n),
		Attempts:      n%5 + 1,
		FirstFailedAt: at.Add(-time.Minute),
		LastFailedAt:  at.Add(-time.Second),
		BuriedAt:      at,
		Group:         "billing",
		Source:        dlq.Source{Topic: "orders", Partition: int32(n % 4), Offset: int64(n), ID: fmt.Sprintf("%d-0", n)},
		Host:          "host-1",
		Build:         "abc123",
		Replays:       n % 3,
	}
}

// Diff tells in which fields two letters differ, ids aside; empty when they do
// not. Times are compared as instants.
func Diff(got, want dlq.Letter) string {
	var out []string
	check := func(field string, same bool, got, want any) {
		if !same {
			out = append(out, fmt.Sprintf("%s = %#v, want %#v", field, got, want))
		}
	}
	equal := func(field, got, want any) { check(field.(string), got == want, got, want) }
	at := func(field string, got, want time.Time) { check(field, got.Equal(want), got, want) }
	equal("MessageID", got.MessageID, want.MessageID)
	equal("Key", got.Key, want.Key)
	equal("Payload", string(got.Payload), string(want.Payload))
	check("Metadata", maps.Equal(got.Metadata, want.Metadata), got.Metadata, want.Metadata)
	check("Handlers", slices.Equal(got.Handlers, want.Handlers), got.Handlers, want.Handlers)
	equal("Reason", got.Reason, want.Reason)
	equal("ErrorType", got.ErrorType, want.ErrorType)
	equal("ErrorMessage", got.ErrorMessage, want.ErrorMessage)
	equal("Attempts", got.Attempts, want.Attempts)
	at("FirstFailedAt", got.FirstFailedAt, want.FirstFailedAt)
	at("LastFailedAt", got.LastFailedAt, want.LastFailedAt)
	at("BuriedAt", got.BuriedAt, want.BuriedAt)
	equal("Group", got.Group, want.Group)
	equal("Source", got.Source, want.Source)
	equal("Host", got.Host, want.Host)
	equal("Build", got.Build, want.Build)
	equal("Replays", got.Replays, want.Replays)
	return strings.Join(out, "\n")
}

// bury puts letters first to last into s and returns their ids.
func bury(t *testing.T, s dlq.Store, first, last int) []string {
	t.Helper()
	var ids []string
	for n := first; n <= last; n++ {
		id, err := s.Bury(t.Context(), Letter(n))
		if err != nil {
			t.Fatalf("bury letter %d: %v", n, err)
		}
		if id == "" || slices.Contains(ids, id) {
			t.Fatalf("bury letter %d: id %q is empty or not new", n, id)
		}
		ids = append(ids, id)
	}
	return ids
}

// list collects a listing.
func list(t *testing.T, s dlq.Store, q dlq.Query) []dlq.Letter {
	t.Helper()
	var out []dlq.Letter
	for l, err := range s.List(t.Context(), q) {
		if err != nil {
			t.Fatalf("list %+v: %v", q, err)
		}
		out = append(out, l)
	}
	return out
}

func idsOf(letters []dlq.Letter) []string {
	ids := make([]string, len(letters))
	for i, l := range letters {
		ids[i] = l.ID
	}
	return ids
}

func wantIDs(t *testing.T, what string, got []dlq.Letter, want []string) {
	t.Helper()
	if ids := idsOf(got); !slices.Equal(ids, want) {
		t.Errorf("%s: ids %v, want %v", what, ids, want)
	}
}

func wantCount(t *testing.T, s dlq.Store, want int64) {
	t.Helper()
	got, err := s.Count(context.WithoutCancel(t.Context()))
	if err != nil || got != want {
		t.Errorf("count = %d, %v, want %d", got, err, want)
	}
}
