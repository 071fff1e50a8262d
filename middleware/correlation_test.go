package middleware_test

import (
	"maps"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

func TestCorrelation(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		handled, produced, want map[string]string
	}{
		"goes on": {
			map[string]string{"event_id": "e1", "correlation_id": "c1", "causation_id": "e0"},
			nil,
			map[string]string{"correlation_id": "c1", "causation_id": "e1"},
		},
		"begins": {
			map[string]string{"event_id": "e1"},
			map[string]string{"own": "x"},
			map[string]string{"own": "x", "correlation_id": "e1", "causation_id": "e1"},
		},
		"no event": {
			nil, map[string]string{}, map[string]string{"correlation_id": "uuid-1", "causation_id": "uuid-1"},
		},
		"what is said already": {
			map[string]string{"event_id": "e1", "correlation_id": "c1"},
			map[string]string{"correlation_id": "own", "causation_id": "own"},
			map[string]string{"correlation_id": "own", "causation_id": "own"},
		},
	} {
		p := &message.Message{UUID: "p", Metadata: tc.produced}
		m := message.NewMessage("uuid-1", nil)
		maps.Copy(m.Metadata, tc.handled)
		out, err := middleware.Correlation(func(m *message.Message) ([]*message.Message, error) {
			return []*message.Message{p, nil, m}, errInk
		})(m)
		if len(out) != 3 || err == nil {
			t.Errorf("%s: %d messages, %v; want what the handler returned", name, len(out), err)
		}
		if !maps.Equal(p.Metadata, tc.want) {
			t.Errorf("%s: %v, want %v", name, p.Metadata, tc.want)
		}
		if len(m.Metadata) != len(tc.handled) {
			t.Errorf("%s: the handled message, passed on, now says %v", name, m.Metadata)
		}
	}
}
