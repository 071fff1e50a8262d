package msgctx_test

import (
	"context"
	"errors"
	"testing"

	"github.com/leat-go/leat/eventbus/internal/msgctx"
	"github.com/leat-go/leat/middleware"
)

type key struct{}

func begun(parent context.Context) (*msgctx.Context, *middleware.Delivery) {
	c, d := &msgctx.Context{}, &middleware.Delivery{ID: "7-0"}
	c.Begin(parent, d)
	return c, d
}

func isDone(c context.Context) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func TestContext_TellsTheDeliveryAndItsParentsValues(t *testing.T) {
	c, d := begun(context.WithValue(t.Context(), key{}, "v"))
	for _, when := range []string{"at first", "after Done", "after End"} {
		if got := middleware.DeliveryFrom(c); got != d {
			t.Errorf("%s: delivery %p, want %p", when, got, d)
		}
		if got := c.Value(key{}); got != "v" {
			t.Errorf("%s: value %v, want v", when, got)
		}
		if when == "at first" && isDone(c) {
			t.Error("done before its end")
		}
		if when == "after Done" {
			c.End()
		}
	}
}

// Whether anybody asked for Done before, or not.
func TestContext_EndsWithTheDelivery(t *testing.T) {
	for _, asked := range []bool{false, true} {
		c, _ := begun(t.Context())
		if asked && isDone(c) {
			t.Error("done before its end")
		}
		if err := c.Err(); err != nil {
			t.Errorf("asked %v: error %v before its end", asked, err)
		}
		c.End()
		c.End()
		if !isDone(c) || !errors.Is(c.Err(), context.Canceled) || !errors.Is(context.Cause(c), context.Canceled) {
			t.Errorf("asked %v: done %v, error %v, cause %v, want context.Canceled", asked, isDone(c), c.Err(), context.Cause(c))
		}
	}
}

func TestContext_EndsWithItsParentAndTellsTheCause(t *testing.T) {
	cause := errors.New("deadline of the drain")
	for _, asked := range []bool{false, true} {
		parent, cancel := context.WithCancelCause(t.Context())
		c, _ := begun(parent)
		if asked && isDone(c) {
			t.Error("done before its end")
		}
		cancel(cause)
		if !errors.Is(c.Err(), context.Canceled) || !errors.Is(context.Cause(c), cause) || !isDone(c) {
			t.Errorf("asked %v: error %v, cause %v, done %v", asked, c.Err(), context.Cause(c), isDone(c))
		}
		c.End()
	}
}

// A context made from it ends with it, without a goroutine that waits: package
// context finds the one that cancels.
func TestContext_EndsWhatIsDerivedFromIt(t *testing.T) {
	for _, when := range []string{"before End", "after End"} {
		c, _ := begun(t.Context())
		if when == "after End" {
			c.End()
		}
		child, cancel := context.WithCancel(c)
		defer cancel()
		stopped := make(chan struct{})
		context.AfterFunc(c, func() { close(stopped) })
		c.End()
		<-child.Done()
		<-stopped
	}
}

func TestContext_AllocatesNothingUntilSomebodyAsksForItsEnd(t *testing.T) {
	d := &middleware.Delivery{}
	parent := t.Context()
	var cs [200]msgctx.Context
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		c := &cs[i]
		i++
		c.Begin(parent, d)
		if c.Err() != nil || c.Value(key{}) != nil || middleware.DeliveryFrom(c) != d {
			t.Error("not as begun")
		}
		c.End()
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
