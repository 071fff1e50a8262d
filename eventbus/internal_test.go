package eventbus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelivery_EndsWithEitherContext(t *testing.T) {
	cause := errors.New("the deadline of the drain")
	type which struct{ parent, kill bool }
	for name, end := range map[string]which{"the publisher's": {parent: true}, "the bus's": {kill: true}} {
		for _, cancellable := range []bool{true, false} {
			if end.parent && !cancellable {
				continue
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					kill, killNow := context.WithCancelCause(t.Context())
					defer killNow(nil)
					parent, cancel := context.Background(), func() {}
					if cancellable {
						parent, cancel = context.WithCancel(parent)
					}
					defer cancel()
					b := &Bus{kill: kill, killed: &joint{ctx: kill}}
					d := &delivery{Context: parent, bus: b, kill: kill}
					child, stop := context.WithTimeout(d, time.Hour)
					defer stop()
					if d.Err() != nil || child.Err() != nil {
						t.Fatal("ended before anything happened")
					}
					want := context.Canceled
					if end.kill {
						killNow(cause)
						want = cause
					} else {
						cancel()
					}
					synctest.Wait()
					for what, ctx := range map[string]context.Context{"delivery": d, "child": child} {
						select {
						case <-ctx.Done():
						default:
							t.Errorf("%s: not done", what)
						}
						if ctx.Err() == nil || !errors.Is(context.Cause(ctx), want) {
							t.Errorf("%s: err %v, cause %v, want %v", what, ctx.Err(), context.Cause(ctx), want)
						}
					}
					d.release()
				})
			})
		}
	}
}

func TestDelivery_CauseWithoutDoneIsTheBuses(t *testing.T) {
	cause := errors.New("deadline")
	kill, killNow := context.WithCancelCause(t.Context())
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := &delivery{Context: parent, bus: &Bus{killed: &joint{ctx: kill}}, kill: kill}
	killNow(cause)
	if got := context.Cause(d); !errors.Is(got, cause) {
		t.Errorf("cause = %v, want %v", got, cause)
	}
}

func TestDelivery_ContextKeptBeyondTheEventIsUsable(t *testing.T) {
	kill, killNow := context.WithCancelCause(t.Context())
	defer killNow(nil)
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := &delivery{Context: parent, bus: &Bus{killed: &joint{ctx: kill}}, kill: kill}
	d.release()
	select {
	case <-d.Done():
		t.Error("done, though neither context ended")
	default:
	}
}

func TestGate_ClosesInTwoSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if !g.enter(false) {
			t.Fatal("an open gate refused")
		}
		g.move(draining)
		if g.enter(false) {
			t.Error("draining: one from outside got in")
		}
		if !g.enter(true) {
			t.Error("draining: a nested one was refused")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if left := g.wait(ctx); left != 2 {
			t.Errorf("left = %d at the deadline, want 2", left)
		}
		done := make(chan int)
		go func() { done <- g.wait(t.Context()) }()
		g.leave(true)
		g.leave(false)
		if left := <-done; left != 0 {
			t.Errorf("left = %d, want 0", left)
		}
		if n := g.finished(); n != 1 {
			t.Errorf("finished = %d, want the one from outside", n)
		}
		g.move(shut)
		g.move(open)
		if g.enter(true) {
			t.Error("a shut gate let one in")
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "Order.Created", "send-invoice", "a/b:c_d", "X9"} {
		if err := checkName("handler", good); err != nil {
			t.Errorf("%q refused: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ", "a b", "a,b", "a\x00", "ä", "a*", "#", "{a}"} {
		if err := checkName("handler", bad); !errors.Is(err, ErrInvalidName) {
			t.Errorf("%q: %v, want ErrInvalidName", bad, err)
		}
	}
	if err := checkTopic("{orders}:stream"); err != nil {
		t.Errorf("a topic with a hash tag: %v", err)
	}
	for _, bad := range []string{"", "{a b}", "a,b"} {
		if err := checkTopic(bad); !errors.Is(err, ErrInvalidName) {
			t.Errorf("topic %q: %v, want ErrInvalidName", bad, err)
		}
	}
}
