package router_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

func TestNewLogger_KeysAndLevels(t *testing.T) {
	var buf bytes.Buffer
	log := router.NewLogger(slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: watermill.LevelTrace})))
	fields := func() watermill.LogFields {
		return watermill.LogFields{"handler_name": "h", "message_uuid": "id-1", "not_sent_message": "payload"}
	}
	log.Error("e", errors.New("cause"), fields())
	log.Info("i", fields())
	log.Debug("d", fields())
	log.With(watermill.LogFields{"topic": "orders"}).Trace("t", nil)

	lines := strings.Split(strings.TrimSpace(buf.String()), "\n")
	for i, want := range [][]string{
		{"level=ERROR", "msg=e", "handler=h", "event_id=id-1", "error=cause"},
		{"level=INFO", "msg=i", "handler=h"},
		{"level=DEBUG", "msg=d", "event_id=id-1"},
		{"level=DEBUG-4", "msg=t", "topic=orders"},
	} {
		for _, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %q lacks %q", lines[i], part)
			}
		}
	}
	if strings.Contains(buf.String(), "payload") {
		t.Error("the log shows a payload")
	}
}

func TestNewLogger_CostsNothingPerMessageAboveItsLevel(t *testing.T) {
	log := router.NewLogger(slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)))
	fields := watermill.LogFields{"message_uuid": "id", "handler_name": "h"}
	if n := testing.AllocsPerRun(100, func() { log.Trace("Received message", fields) }); n != 0 {
		t.Errorf("%v allocations for a record that is dropped, want 0", n)
	}
	router.NewLogger(nil).Error("nobody listens", errors.New("x"), nil)
}

// What a message causes on its normal way is below info.
func TestRouter_LogsNothingPerMessageAtInfo(t *testing.T) {
	var buf bytes.Buffer
	broker := newScripted(0)
	r := newRouter(t, router.Config{Logger: slog.New(slog.NewTextHandler(&buf, nil))})
	handled := make(chan struct{}, 100)
	consume(t, r, "h", "t", broker, func(*message.Message) error { handled <- struct{}{}; return nil })
	rs := run(t, r)
	broker.add("t", 100)
	for range 100 {
		within(t, 5*time.Second, "a message", handled)
	}
	rs.stop()
	if err := within(t, 5*time.Second, "Run", rs.ran); err != nil {
		t.Error(err)
	}
	log := buf.String()
	if n := strings.Count(log, "\n"); n != 3 {
		t.Errorf("%d lines for 100 messages, want 3:\n%s", n, log)
	}
	for _, want := range []string{"router running", "drain started", "drain ended", "handlers=h"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("a clean life logged trouble:\n%s", log)
	}
}

// heard keeps the records of a log.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, string(p))
	return len(p), nil
}

// The handler that keeps Watermill's router open is nobody's: what is logged of
// it is for those who debug.
func TestRouter_TellsOfItsOwnHandlerBelowInfo(t *testing.T) {
	var log heard
	r := newRouter(t, router.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: watermill.LevelTrace}))})
	consume(t, r, "h", "t", newScripted(0), func(*message.Message) error { return nil })
	rs := run(t, r)
	rs.stop()
	if err := within(t, 5*time.Second, "Run", rs.ran); err != nil {
		t.Error(err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	told := false
	for _, line := range log.lines {
		if strings.Contains(line, "leat.keep-alive") {
			told = true
			if !strings.Contains(line, "level=DEBUG") {
				t.Errorf("at this level: %s", line)
			}
		}
	}
	if !told {
		t.Error("the log has nothing of the internal handler: this test sees nothing")
	}
}
