// Package redisbus is the event bus on Redis Streams, and the Watermill
// transport under it.
//
// [Open] returns a [Bus] with all verbs of eventbus. [Publisher] and
// [Subscriber] are its transport, and serve a plain Watermill project alone;
// [Store] keeps dead letters in a stream, [Inspector] looks at streams. Redis 6.2
// or later; what only Redis 7 can tell is said where it matters.
//
//	bus, err := redisbus.Open(ctx, redisbus.Config{
//		URL: "redis://localhost:6379", StreamPrefix: "orders", ConsumerGroup: "billing", Registry: reg,
//	})
//	_, err = eventbus.Subscribe(bus, "send-invoice", func(ctx context.Context, e OrderCreated) error { ... })
//	go bus.Run(ctx)
//	err = bus.Publish(ctx, created, shipped)
//	report, err := bus.Shutdown(ctx)
//
// # On the server
//
//	events          stream {prefix}:stream; the topic of the transport is the key of the stream
//	dead letters    stream {prefix}:stream_dlq
//	consumer group  a consumer group, created at the beginning of the stream: a new group gets the history
//	process         a consumer of the group, named ConsumerName
//	in flight       the group's pending entries; Redis counts their deliveries
//	ack             XACK, many at once
//	nack            the message waits NackDelay, in memory; at a shutdown it is handed back
//	order           one consumer handles the events of a key one at a time and in stream order; several
//	                consumers of a group share the stream entry by entry, so that a key's events
//	                may be with two of them
//
// Two forms of entry are written, and three are read. [FormWatermill] is byte
// for byte what the stock watermill-redisstream adapter writes; both may share a
// stream and a group. [FormText] has the metadata as text fields: the Python
// library reads it, and the stock adapter, without its metadata. Entries of the
// Python library are read too. An entry in no known form becomes a dead letter
// with its fields as JSON.
//
// # What is promised
//
// Publish returns nil when Redis has confirmed every event; what that survives is
// Redis' own setting (see below). All events of a call go out in one round trip,
// and calls at the same time share theirs. An XADD is never sent twice. The
// outcome is told event by event: confirmed; refused ([RefusedError], or never
// sent); unknown ([ErrUnknown]), after which publishing again may double.
//
// An event is acknowledged after its handlers are done or its letter is
// confirmed. A shutdown hands back what it did not finish: another consumer takes
// it within PendingIdleTime/4, ten seconds at most, and it counts as no delivery.
//
// A process that dies loses nothing: under the same ConsumerName it takes up its
// unfinished events first; otherwise the others of the group claim them after
// PendingIdleTime. A live process tells the server every third of that time what
// it holds, so that the events of a slow handler are never taken from it.
// Claiming delays new events by two commands. An event that was delivered
// MaxDeliveries times is buried unseen. Events that were in flight together with
// it are handled apart after a second death, so that they are not buried with it.
//
// The consumer goes on by itself after a cut connection, a restart, a failover
// of the address, a deleted stream, group or consumer, CLIENT KILL, CLIENT PAUSE,
// a server that hangs, a rotated password, and while maxmemory refuses what is
// published. Each of these is one line in the log, and one when it is over;
// [SubscriberStats] counts them. go-redis itself writes a line to its own global
// logger for each connection that it cannot make: redis.SetLogger.
//
// # What is not
//
//   - An event can be handled twice: after a crash, after a cut between handler
//     and ack, and after a group was deleted and created again from the beginning
//     of the stream. Use the idempotency middleware.
//   - A process that was suspended for longer than PendingIdleTime, and wakes up,
//     finishes what others have taken over (SubscriberStats.TakenOver). Its late ack
//     is not fenced: Redis takes it for theirs. It is sent only after the handlers
//     succeeded, so no event is lost by it.
//   - What Redis has confirmed and not yet written to disk is lost with the
//     machine: appendonly yes with appendfsync always loses nothing, everysec up to
//     a second. After a failover, what the replica had not yet is lost.
//   - Trimming (MaxLen, MaxAge; off by default) and XDEL take unread events with
//     them. With Redis 7 that is noticed, counted (SubscriberStats.Lost) and logged,
//     at the latest when the group has caught up. The letters are never trimmed.
//   - Deleting a live consumer from its group (XGROUP DELCONSUMER) forgets what it
//     holds: it is still handled, but not taken over should the process die.
//
// # Cluster, sentinel, ACL
//
// Any redis.UniversalClient serves. No command has more than one key, so a
// cluster needs no hash tag; name the streams {orders}:stream and
// {orders}:stream_dlq in the transport to keep both on one node. A user needs
// +@stream and +ping on the keys of the two streams. With +client|id and
// +client|unblock a stop is immediate; otherwise the blocking read is cut off.
// RemoveDeadConsumers needs +eval.
//
// # What Close closes
//
// Bus.Shutdown closes the connections that Open made. A client that was given
// stays open, always. A Subscriber reads on a connection of its own, made with the
// options of the given client, and closes that.
//
// # Settings that matter in production
//
// ConsumerName: a fixed, unique name (the pod of a stateful set) makes a restart
// quick and leaves no consumers behind; others remain in the group until
// [Bus.RemoveDeadConsumers]. PendingIdleTime: how long a crash delays what the
// process held, 60 s. Concurrency: how many keys are handled at once, 1 by
// default, which is strictly the order of the stream. MaxInFlight: the memory of
// a consumer, and how much it holds that others could do. MaxLen or MaxAge: a
// stream grows otherwise.
package redisbus
