package middleware_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/leat-go/leat/middleware"
)

func mark(order *[]string, name string) message.HandlerMiddleware {
	return func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			*order = append(*order, name)
			return h(m)
		}
	}
}

func audit(h message.HandlerFunc) message.HandlerFunc { return h }

func TestChain_FirstIsOutermost(t *testing.T) {
	t.Parallel()
	var order []string
	h := middleware.Chain(mark(&order, "a"), nil, mark(&order, "b"), middleware.Named("c", mark(&order, "c")), middleware.Named("none", nil))(succeed)
	if _, err := h(newMessage(t.Context(), "1")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	handler, runs := failing(0, nil)
	if _, err := middleware.Chain()(handler)(newMessage(t.Context(), "1")); err != nil || *runs != 1 {
		t.Errorf("an empty chain: %v, %d runs", err, *runs)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	var stats middleware.Stats
	var order []string
	got := middleware.Describe(
		middleware.Recover{}.Middleware,
		stats.Middleware,
		middleware.Logging{}.Middleware,
		middleware.DeadLetter{}.Middleware,
		middleware.Idempotency{}.Middleware,
		middleware.Retry{}.Middleware,
		middleware.Timeout{}.Middleware,
		middleware.Correlation,
		nil,
		middleware.Named("mine: a closure", mark(&order, "x")),
		audit,
		stock.Recoverer,
		stock.Retry{}.Middleware,
	)
	want := []string{
		"Recover", "Stats", "Logging", "DeadLetter", "Idempotency", "Retry", "Timeout", "Correlation", "mine: a closure",
		"leat/middleware_test.audit", "router/middleware.Recoverer", "router/middleware.Retry",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// A closure is named by the compiler, which may put its caller's name before it.
	for _, name := range middleware.Describe(mark(&order, "x"), stock.Timeout(1)) {
		if !strings.HasSuffix(name, ".mark") && !strings.HasSuffix(name, ".Timeout") {
			t.Errorf("closure %q does not say who made it", name)
		}
	}
	if len(order) != 0 {
		t.Error("describing a chain ran it")
	}
}
