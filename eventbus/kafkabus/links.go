package kafkabus

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// links is which brokers a member can speak to. The client tries again by
// itself and says nothing; here a line is logged when a broker is lost and when
// it is there again, and the latter is counted. The client calls it.
type links struct {
	log           *slog.Logger
	reconnections *atomic.Int64

	mu    sync.Mutex
	state map[string]*transport.State // by address: that of a seed may be a broker's
}

var (
	_ kgo.HookBrokerConnect = (*links)(nil)
	_ kgo.HookBrokerRead    = (*links)(nil)
)

// OnBrokerConnect is called when a connection can be used, or could not be made.
func (l *links) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	state, log := l.of(meta)
	switch {
	case err == nil:
		if state.Up(log) {
			l.reconnections.Add(1)
		}
	case !ours(err):
		state.Down(log, refused(err))
	}
}

// OnBrokerRead is called for each answer. A connection that is idle may be
// closed by either side; one that owes an answer may not.
func (l *links) OnBrokerRead(meta kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err != nil && !ours(err) {
		state, log := l.of(meta)
		state.Down(log, refused(err))
	}
}

func (l *links) of(meta kgo.BrokerMetadata) (*transport.State, *slog.Logger) {
	addr := net.JoinHostPort(meta.Host, strconv.Itoa(int(meta.Port)))
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.state[addr]
	if state == nil {
		state = &transport.State{What: "the connection to the broker"}
		l.state[addr] = state
	}
	return state, l.log.With("broker", addr)
}

// ours reports whether this side ended the connection.
func ours(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed)
}
