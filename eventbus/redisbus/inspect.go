package redisbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// InspectorConfig configures an [Inspector]. Client and Stream are required.
type InspectorConfig struct {
	// Client stays yours.
	Client redis.UniversalClient

	// Stream is looked at, and DeadLetters counted; empty counts none.
	Stream      string
	DeadLetters string

	// Group is that of [Inspector.ConsumerInfo], [Inspector.Lag] and
	// [Inspector.RemoveDeadConsumers].
	Group string
}

// Inspector looks at a stream, its groups and their consumers. It may be used
// from many goroutines.
type Inspector struct{ cfg InspectorConfig }

// NewInspector returns an Inspector, or every problem of the configuration. It
// does not connect.
func NewInspector(cfg InspectorConfig) (*Inspector, error) {
	var errs []error
	if cfg.Client == nil {
		errs = append(errs, errors.New("redisbus: InspectorConfig.Client: must not be nil"))
	}
	if cfg.Stream == "" {
		errs = append(errs, errors.New("redisbus: InspectorConfig.Stream: must not be empty"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Inspector{cfg: cfg}, nil
}

// StreamInfo is what a stream looks like at one moment.
type StreamInfo struct {
	// Connected is false when the server could not be asked; then nothing else
	// is known.
	Connected bool

	Stream          StreamState // the stream itself
	ConsumerGroups  []GroupInfo // all of them
	PendingMessages int64       // read and not acknowledged, in all groups
	DLQMessages     int64       // letters
	ActiveConsumers int         // consumers of all groups, the dead ones included that nobody removed
}

// StreamState is the stream itself. A stream that does not exist has only a name.
type StreamState struct {
	Name         string // its key
	Exists       bool   // else all that follows is zero
	Length       int64  // in entries
	FirstEntryID string // empty when it has no entries
	LastEntryID  string // the newest
	EntriesAdded int64  // ever; 0 before Redis 7
}

// GroupInfo is one consumer group of a stream.
type GroupInfo struct {
	Name            string // of the group
	Consumers       int64  // the dead ones included that nobody removed
	Pending         int64  // entries read and not acknowledged
	LastDeliveredID string // how far the group has read
	Lag             int64  // entries not yet read by the group; UnknownLag if Redis cannot tell
}

// UnknownLag is the lag of a group when Redis cannot tell it: before Redis 7
// unless it is 0, or after entries were deleted in the middle of the stream.
const UnknownLag = -1

// ConsumerInfo is one consumer of the group.
type ConsumerInfo struct {
	Name    string        // ConsumerName of its process
	Pending int64         // entries it has read and not acknowledged
	Idle    time.Duration // since it last asked for anything
}

// StreamInfo describes the stream and its groups, also when it is empty or
// does not exist. When the server cannot be asked it returns an error, and a
// StreamInfo that says so.
func (i *Inspector) StreamInfo(ctx context.Context) (StreamInfo, error) {
	info := StreamInfo{Stream: StreamState{Name: i.cfg.Stream}}
	if i.cfg.DeadLetters != "" {
		n, err := i.cfg.Client.XLen(ctx, i.cfg.DeadLetters).Result()
		if err != nil {
			return info, i.failed("look at", err)
		}
		info.DLQMessages = n
	}
	stream, err := i.cfg.Client.XInfoStream(ctx, i.cfg.Stream).Result()
	if missing(err) {
		info.Connected = true
		return info, nil
	}
	if err != nil {
		return info, i.failed("look at", err)
	}
	groups, err := i.groups(ctx, stream)
	if err != nil {
		return info, err
	}
	info.Connected = true
	info.Stream = StreamState{
		Name: i.cfg.Stream, Exists: true, Length: stream.Length, EntriesAdded: stream.EntriesAdded,
		FirstEntryID: stream.FirstEntry.ID, LastEntryID: stream.LastEntry.ID,
	}
	info.ConsumerGroups = groups
	for _, g := range groups {
		info.PendingMessages += g.Pending
		info.ActiveConsumers += int(g.Consumers)
	}
	return info, nil
}

// groups lists the groups of the stream, of which stream is known.
func (i *Inspector) groups(ctx context.Context, stream *redis.XInfoStream) ([]GroupInfo, error) {
	found, err := i.cfg.Client.XInfoGroups(ctx, i.cfg.Stream).Result()
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, i.failed("look at the groups of", err)
	}
	groups := make([]GroupInfo, len(found))
	for n, g := range found {
		groups[n] = GroupInfo{Name: g.Name, Consumers: g.Consumers, Pending: g.Pending, LastDeliveredID: g.LastDeliveredID, Lag: g.Lag}
		if stream.EntriesAdded == 0 && g.LastDeliveredID != stream.LastGeneratedID {
			groups[n].Lag = UnknownLag // Redis 6 does not count
		}
	}
	return groups, nil
}

// Lag returns how many entries the group has not read yet, [UnknownLag] if
// Redis cannot tell. Without stream or group it is 0.
func (i *Inspector) Lag(ctx context.Context) (int64, error) {
	stream, err := i.cfg.Client.XInfoStream(ctx, i.cfg.Stream).Result()
	if missing(err) {
		return 0, nil
	}
	if err != nil {
		return 0, i.failed("look at", err)
	}
	groups, err := i.groups(ctx, stream)
	for _, g := range groups {
		if g.Name == i.cfg.Group {
			return g.Lag, err
		}
	}
	return 0, err
}

// ConsumerInfo lists the consumers of the group; none without stream or group.
func (i *Inspector) ConsumerInfo(ctx context.Context) ([]ConsumerInfo, error) {
	found, err := i.cfg.Client.XInfoConsumers(ctx, i.cfg.Stream, i.cfg.Group).Result()
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, i.failed("look at the consumers of", err)
	}
	consumers := make([]ConsumerInfo, len(found))
	for n, c := range found {
		consumers[n] = ConsumerInfo{Name: c.Name, Pending: c.Pending, Idle: c.Idle}
	}
	return consumers, nil
}

// removeIfDead removes a consumer that has nothing pending, in one step on the
// server: between asking and removing it might have read, and its entries
// would be gone with it.
const removeIfDead = `
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local f = {}
  for n = 1, #c, 2 do f[c[n]] = c[n + 1] end
  if f['name'] == ARGV[2] and f['pending'] == 0 and f['idle'] >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
  end
end
return 0`

// RemoveDeadConsumers removes the consumers of the group that have asked for
// nothing for idle and have nothing pending, and returns their names. Nothing
// else ever removes a consumer: each process without a fixed ConsumerName
// leaves one behind. A live consumer asks at least every BlockTime. It needs
// the right to run a script (EVAL).
func (i *Inspector) RemoveDeadConsumers(ctx context.Context, idle time.Duration) ([]string, error) {
	consumers, err := i.ConsumerInfo(ctx)
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, c := range consumers {
		if c.Pending > 0 || c.Idle < idle {
			continue
		}
		n, err := i.cfg.Client.Eval(ctx, removeIfDead, []string{i.cfg.Stream}, i.cfg.Group, c.Name, idle.Milliseconds()).Int()
		if err != nil {
			return removed, i.failed("remove consumers of", err)
		}
		if n == 1 {
			removed = append(removed, c.Name)
		}
	}
	return removed, nil
}

func (i *Inspector) failed(act string, err error) error {
	return fmt.Errorf("redisbus: %s %q: %w", act, i.cfg.Stream, refused(err))
}

// missing reports that stream or group are not there, as the server says it:
// "ERR no such key" or "NOGROUP ...".
func missing(err error) bool {
	return serverError(err) == "NOGROUP" || redis.HasErrorPrefix(err, "ERR no such key") || redis.HasErrorPrefix(err, "no such key")
}
