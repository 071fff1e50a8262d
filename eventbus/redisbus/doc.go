// Package redisbus is the event bus on Redis Streams, and the Watermill
// transport under it.
//
// [Open] returns a [Bus] with all verbs of eventbus. [Publisher] and
// [Subscriber] are its transport, and serve a plain Watermill project alone;
// [Store] keeps dead letters in a stream, [Inspector] looks at streams. Redis 6.2
// or later: tried on 6.2, 7.0, 7.4, 8.0 and 8.6. What only Redis 7 can tell is
// said where it matters. No command is newer than 6.2, on newer servers either.
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
//	events          stream {prefix}:stream; the topic of the transport is the key of the stream, so that
//	                eventbus.New on NewPublisher and NewSubscriber takes a stream of any name
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
//     them. From Redis 7 on that is noticed, counted (SubscriberStats.Lost) and
//     logged, at the latest when the group has caught up. Redis 8 hides it as soon
//     as the group reads on: when the trimming comes near to the group, the
//     subscriber looks before each read, but entries that somebody deletes far
//     ahead of it, between two of its looks (ten seconds at most), may not be
//     missed. The letters are never trimmed.
//   - Deleting a live consumer from its group (XGROUP DELCONSUMER) forgets what it
//     holds: it is still handled, but not taken over should the process die.
//
// # Cluster, sentinel
//
// Any redis.UniversalClient serves as Client: that of redis.NewClusterClient, or
// of redis.NewFailoverClient with sentinels.
//
// In a cluster a stream is on one node. No command has more than one key, so
// nothing needs a hash tag; with one, as in the StreamPrefix {orders}, the stream
// {orders}:stream and its dead letters {orders}:stream_dlq are on the same node,
// wherever their slot moves, and are lost or saved together. A slot that moves
// loses nothing, and the consumer follows it at once.
//
// When a primary dies, publishing fails (not sent, or unknown) until its replica
// has taken over; then publishing and consuming go on by themselves. Redis
// confirms before it replicates: what only the old primary had is lost with it,
// and acknowledgements that only it had are handled again. min-replicas-to-write
// makes that less, not nothing. Of a live primary that sentinels demote the
// reader lets go when they tell it so, which takes them some ten seconds.
//
// # ACL
//
// A user needs +@stream and +ping on the keys of the two streams. With
// +client|id and +client|unblock a stop is immediate; otherwise the blocking read
// is cut off, and reads block for a quarter of a second only. RemoveDeadConsumers
// needs +eval. Credentials is asked for each new connection: rotate the password,
// then let the server close the old ones.
//
// # What Close closes
//
// Bus.Shutdown closes the connections that Open made. A client that was given
// stays open, always. A Subscriber reads on a connection of its own, made with the
// options of the given client, and closes that.
//
// # Settings
//
// The fields of [Config] with their defaults. Lengths of time are Go durations;
// Redis knows milliseconds.
//
//	URL               redis://localhost:6379   the server; or Client
//	ConnectTimeout    5s                       TCP, TLS and log-in together
//	SocketTimeout     5s                       each write and each answer
//	PoolSize          10 for each processor    connections
//	StreamPrefix      events                   the stream is {prefix}:stream
//	DLQStreamSuffix   _dlq                     the dead letters are in {prefix}:stream{suffix}
//	Form              FormWatermill            how entries are written
//	MaxLen, MaxAge    off                      trimming by entries or by age: a stream grows otherwise
//	ConsumerGroup     default                  who shares the events
//	ConsumerName      host name and 8 digits   a fixed, unique one (the pod of a stateful set) makes a
//	                                           restart quick and leaves no consumers behind; others remain
//	                                           in the group until Bus.RemoveDeadConsumers
//	BatchSize         100                      entries a read
//	BlockTime         5s                       how long an idle read waits on the server
//	Concurrency       1                        keys handled at once; 1 is strictly the order of the stream
//	MaxInFlight       8 x BatchSize, or        entries read and not acknowledged: the memory of a consumer,
//	                  16 x Concurrency         and how much it holds that others could do
//	PendingIdleTime   1m0s                     how long a crash delays what the process held
//	MaxDeliveries     5                        deliveries before an event that kills processes is buried
//	AckDelay          5ms                      how long an acknowledgement waits for company
//	Retry             3, 1s, 1m0s, 2, 0.1      retries, first and longest wait, factor, jitter
//	HandlerTimeout    none                     of one attempt
//	MaxReplays        3                        of one letter, without force
//	MaxBackground     1000                     publishes under way in the background
//	MaxPayloadBytes   1000000                  bytes of an encoded event
//	DrainTimeout      30s                      for handlers to finish in when Run's context ends
package redisbus
