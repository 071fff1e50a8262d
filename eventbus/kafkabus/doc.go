// Package kafkabus is the event bus on Apache Kafka, and the Watermill
// transport under it, on franz-go.
//
// [Open] returns a [Bus] with all verbs of eventbus. [Publisher] and
// [Subscriber] are its transport, and serve a plain Watermill project alone;
// [Store] keeps dead letters in a topic, [Inspector] looks at topics and groups.
//
//	bus, err := kafkabus.Open(ctx, kafkabus.Config{
//		BootstrapServers: "localhost:9092", TopicPrefix: "orders", ConsumerGroup: "billing", Registry: reg,
//	})
//	_, err = eventbus.Subscribe(bus, "send-invoice", func(ctx context.Context, e OrderCreated) error { ... })
//	go bus.Run(ctx)
//	err = bus.Publish(ctx, created, shipped)
//	report, err := bus.Shutdown(ctx)
//
// # On the brokers
//
//	events          topic {prefix}.stream, created by Open when it is not there, unless Topics forbids it
//	dead letters    topic {prefix}.stream.dlq, with as many partitions
//	key             the aggregate id; murmur2 chooses the partition, as in Java and Python
//	headers         the metadata, in a fixed order, and _watermill_message_uuid
//	consumer group  a consumer group, cooperative-sticky; a new one begins with the history
//	process         a member of the group
//	ack             the offset before which all is done is committed, many at once
//	nack            the message waits NackDelay, in memory; at a shutdown it is handed back
//	order           the events of a key are handled one at a time and in order, over the whole group
//
// The records are those of the stock watermill-kafka default marshaler and of
// the Python library: all three read each other's. A record with neither's
// headers becomes a dead letter with its bytes; a tombstone of a compacted topic
// is passed over and counted.
//
// Stock subscribers and leat cannot be in one group at the same time: they assign
// partitions by other protocols, and the brokers refuse whoever comes second,
// which tries again. Once the stock members have left, leat joins, and goes on
// from the offsets that they committed. In groups of their own both may read.
//
// # What is promised
//
// Publish returns nil when all replicas in sync have every event (Acks). All
// events of a call are in flight together: one request a broker. What the client
// sends again is not doubled. The outcome is told event by event: confirmed;
// refused ([RefusedError], or never sent); unknown ([ErrUnknown]), after which the
// client may still deliver it until DeliveryTimeout, and publishing again may
// double. When a call ends at its deadline, those that are confirmed by then are
// confirmed; with a Client that OpenClient did not make all of it is unknown.
// What of a crowd of small calls was not even sent then is said to be so, and
// never comes.
//
// Up to Concurrency events of different keys are handled at a time, whatever
// partitions they are in: more than there are partitions. Only what is done
// without a gap is committed: in the background, before a partition moves, and at
// a shutdown, which also handles what is before finished work, so that nothing
// that was finished is repeated. A key that is stuck pauses the fetching of its
// partition at MaxInFlight records or MaxInFlightBytes, and that of no other.
//
// When a partition moves to another member, its running handlers get
// RevokeTimeout to finish; then their contexts end with the cause
// [ErrPartitionLost], and what was done is committed before the other member
// begins. A handler slower than MaxPollInterval keeps its partition: heartbeats do
// not depend on handlers. A member that was thought dead (suspended for longer
// than SessionTimeout) loses its partitions with the same cause; what it commits
// is refused, and the late results of its handlers go nowhere.
//
// A record that kills its process is buried after MaxDeliveries deaths, by a
// mark that the offsets carry: see docs/decisions/010. It costs one commit for
// each partition that is assigned. After two deaths without progress the records
// of a partition are handled one at a time until MaxInFlight of them are passed.
//
// # What is not
//
//   - An event can be handled twice: after a crash, after a handler outlived
//     RevokeTimeout, and when a member was thought dead. Use the idempotency
//     middleware.
//   - Events of different keys have no order: partitions are read side by side.
//   - With AcksLeader and AcksNone, confirmed is what those words say.
//   - Retention that overtakes a slow group loses events: it is counted
//     (SubscriberStats.Lost) and logged.
//   - Small calls of a crowd share requests. While a partition has no leader, calls
//     to the others can wait for 3 seconds longer; with a client that OpenClient did
//     not make, those in one request with it as long as it does, or until their own
//     deadline. A call of 8 events or more shares nothing.
//   - A topic that is deleted takes its events with it. One that is made anew, by
//     hand or here, is published to and read again without help; what was in hand
//     is given up.
//   - A join is waited for as long as a rebalance may take: on a connection that
//     is half-open, MaxPollInterval. Connections that idle are closed after 20 s.
//   - When the connection is cut while a member joins for the first time, its name
//     is lost, and the group waits for whom nobody is: SessionTimeout. Not so with
//     StaticMembership.
//   - Kafka cannot remove a letter: deleted and replayed ones are marked, and age
//     by the topic's retention with the rest. Counting reads the topic. The metric
//     leat.dead_letters.waiting reads it once, 8 MiB a collection, and then only
//     what came since; it is told when the beginning is read.
//   - A letter is larger than its event, by some headers. An event that is as large
//     as the brokers allow cannot be buried, and waits: leave some kilobytes.
//
// # Settings that matter
//
// Set Concurrency: 1, the default, handles one event at a time. SessionTimeout
// is how long the events of a dead process wait. A Publish of many events is one
// request; single events of a crowd of publishers share requests, for which they
// wait Linger at most. Compression is gzip, as the reference has it, at its
// fastest level; Snappy and LZ4 cost less processor time. On the topic,
// min.insync.replicas=2 with a replication factor of 3 is what "confirmed" is
// worth having for.
//
// Shutdown closes the connections, except those of a Client that was given.
package kafkabus
