package middleware_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var errInk = errors.New("no ink")

func newMessage(ctx context.Context, id string) *message.Message {
	m := message.NewMessageWithContext(ctx, id, []byte("payload of "+id))
	m.Metadata["event_type"] = "OrderPaid"
	m.Metadata["aggregate_id"] = "order-1"
	return m
}

// failing returns a handler that fails n times with err, then succeeds, and
// counts its runs.
func failing(n int, err error) (message.HandlerFunc, *int) {
	runs := 0
	return func(*message.Message) ([]*message.Message, error) {
		if runs++; runs <= n {
			return nil, err
		}
		return nil, nil
	}, &runs
}

func succeed(*message.Message) ([]*message.Message, error) { return nil, nil }

// notDecodedError is an error as codec and transports have them.
type notDecodedError struct{ is bool }

func (*notDecodedError) Error() string       { return "bad bytes" }
func (e *notDecodedError) Undecodable() bool { return e.is }

// graveyard is a Burier that fails as often as told, and keeps what it gets.
type graveyard struct {
	mu      sync.Mutex
	fail    int // -1: always
	panics  bool
	tries   int
	ctxErrs []error
	letters []dlq.Letter
}

var errGraveyard = errors.New("graveyard closed")

func (g *graveyard) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tries++
	g.ctxErrs = append(g.ctxErrs, ctx.Err())
	if g.fail != 0 {
		g.fail--
		if g.panics {
			panic("burier")
		}
		return "", errGraveyard
	}
	g.letters = append(g.letters, l.Clone())
	return "letter-1", nil
}
