package transport_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	bad, lost := errors.New("bad"), errors.New("lost")
	for _, c := range []struct {
		name                string
		invalid, sent, want []error
	}{
		{"all confirmed", nil, nil, nil},
		{"none invalid", nil, []error{nil, lost}, []error{nil, lost}},
		{"the others confirmed", []error{nil, bad, nil}, nil, []error{nil, bad, nil}},
		{"between", []error{nil, bad, nil, bad, nil}, []error{lost, nil, lost}, []error{lost, bad, nil, bad, lost}},
		{"all invalid", []error{bad, bad}, nil, []error{bad, bad}},
		{"one reason", []error{nil, bad, nil}, transport.All(2, lost), []error{lost, bad, lost}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := transport.Merge(c.invalid, c.sent); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if got := transport.Failed([]error{nil, bad, nil, lost}); !slices.Equal(got, []error{bad, lost}) {
		t.Errorf("failed: %v", got)
	}
}
