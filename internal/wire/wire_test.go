package wire_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/internal/wire"
)

// The order is one that readers of raw entries rely on.
func TestCompare(t *testing.T) {
	want := []string{
		"event_id", "event_type", "event_version", "aggregate_id", "aggregate_type", "aggregate_version", "occurred_at",
		"correlation_id", "causation_id", "tenant_id", "actor_id", "traceparent", "tracestate", "baggage", "_watermill_message_uuid",
		"", "Zebra", "apple", "event", "zebra",
	}
	got := slices.Clone(want)
	slices.Sort(got)
	slices.SortFunc(got, wire.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), strings.Join(want, " "))
	}
}
