package middleware_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/leat-go/leat/middleware"
)

func TestLogging_OneLineForEachOutcome(t *testing.T) {
	t.Parallel()
	ctx := middleware.WithHandlerName(t.Context(), "send-invoice")
	ctx = middleware.WithDelivery(ctx, &middleware.Delivery{Topic: "orders", Group: "billing"})
	for name, tc := range map[string]struct {
		err  error
		want []string
	}{
		"success":     {nil, []string{"level=DEBUG", `msg="message handled"`}},
		"failure":     {errInk, []string{"level=WARN", `msg="message failed"`, `error="no ink"`}},
		"final":       {middleware.Permanent(errInk), []string{"level=WARN", `msg="message failed"`}},
		"discard":     {middleware.Discard(errInk), []string{"level=DEBUG", `msg="message discarded"`, `error="no ink"`}},
		"handed back": {middleware.ErrHandedBack, []string{"level=DEBUG", `msg="message handed back"`}},
	} {
		var out strings.Builder
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		_, err := middleware.Logging{Logger: log}.Middleware(returning(tc.err))(newMessage(ctx, "id-1"))
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: %v", name, err)
		}
		line := out.String()
		for _, want := range append(tc.want, "topic=orders", "group=billing", "handler=send-invoice", "event_id=id-1", "event_type=OrderPaid", "attempt=1", "duration=") {
			if !strings.Contains(line, want) {
				t.Errorf("%s: no %q in %q", name, want, line)
			}
		}
		if strings.Count(line, "\n") != 1 || strings.Contains(line, "payload of") {
			t.Errorf("%s: %q, want one line without the payload", name, line)
		}
	}
}

func TestLogging_Levels(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	mw := middleware.Logging{Logger: log}.Middleware
	_, _ = mw(succeed)(newMessage(t.Context(), "1"))
	if out.Len() != 0 {
		t.Errorf("a success at level info: %q", out.String())
	}
	hostile := newMessage(t.Context(), "id\r\nlevel=ERROR forged")
	_, _ = mw(returning(errInk))(hostile)
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("an id with a line break forges a line: %q", out.String())
	}
	_, _ = middleware.Logging{}.Middleware(succeed)(newMessage(t.Context(), "1"))
	if err := (middleware.Logging{}).Validate(); err != nil {
		t.Error(err)
	}
}
