package router_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/leat-go/leat/router"
)

// owningSubscriber closes the Pub/Sub too: the suite opens one per Subscriber
// and has nobody else to do it. TestMessageCtx closes with a message in hand
// that nobody ever settles, and wants nil; here that is the drain's deadline.
type owningSubscriber struct {
	*router.Subscriber
	inner message.Subscriber
}

func (s owningSubscriber) Close() error {
	if err := s.Subscriber.Close(); err != nil && !errors.Is(err, router.ErrDrainDeadline) {
		return err
	}
	return s.inner.Close()
}

// Watermill's universal suite on a decorated gochannel, twice, since what it
// asks depends on the features. Never run, because gochannel cannot promise it
// without the decorator either: order (TestPublishSubscribeInOrder, TestNoAck),
// consumer groups, a broker to restart (TestReconnect).
func TestUniversalSuite(t *testing.T) {
	for name, concurrency := range map[string]int{"one worker": 1, "eight workers": 8} {
		cfg := router.DrainConfig{Concurrency: concurrency, DrainTimeout: 200 * time.Millisecond}
		// As gochannel's own tests: nothing is delivered twice.
		t.Run(name+", exactly once", func(t *testing.T) {
			tests.TestPubSub(t, tests.Features{
				ExactlyOnceDelivery:   true,
				RequireSingleInstance: true,
				ForceShort:            true,
			}, func(*testing.T) (message.Publisher, message.Subscriber) {
				ps := persistent()
				return unclosed{ps}, owningSubscriber{router.Decorate(ps, cfg), ps}
			}, nil)
		})
		// Many decorated subscribers on one instance that keeps everything: adds
		// TestContinueAfterSubscribeClose, TestConcurrentClose and
		// TestNewSubscriberReceivesOldMessages.
		t.Run(name+", shared", func(t *testing.T) {
			ps := persistent()
			t.Cleanup(func() {
				if err := ps.Close(); err != nil {
					t.Error(err)
				}
			})
			tests.TestPubSub(t, tests.Features{
				Persistent:                       true,
				NewSubscriberReceivesOldMessages: true,
				RequireSingleInstance:            true,
				ForceShort:                       true,
			}, func(*testing.T) (message.Publisher, message.Subscriber) {
				return unclosed{ps}, owningSubscriber{router.Decorate(ps, cfg), unclosedSubscriber{ps}}
			}, nil)
		})
	}
}

func persistent() *gochannel.GoChannel {
	return gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 10000, Persistent: true}, watermill.NopLogger{})
}

// unclosed keeps the suite from closing the Pub/Sub through its publisher half:
// for gochannel that is the subscriber half as well, and the drain of the
// decorated half comes first.
type unclosed struct{ message.Publisher }

func (unclosed) Close() error { return nil }

type unclosedSubscriber struct{ message.Subscriber }

func (unclosedSubscriber) Close() error { return nil }
