// Package rabbitbus is the event bus on RabbitMQ, and the transport under it: a
// Watermill Publisher and Subscriber on AMQP 0-9-1 that serve a plain Watermill
// project as well.
//
// # Smallest program
//
//	reg := eventbus.NewRegistry()
//	err := eventbus.Register[OrderCreated](reg, "OrderCreated", eventbus.AggregateType("Order"))
//
//	bus, err := rabbitbus.Open(ctx, rabbitbus.Config{
//		URL: "amqp://localhost", ExchangeName: "orders", ConsumerGroup: "billing", Registry: reg,
//	})
//	_, err = eventbus.Subscribe(bus, "send-invoice", func(ctx context.Context, e OrderCreated) error { ... })
//	err = bus.Publish(ctx, &OrderCreated{Base: eventbus.NewBase("order-7")})
//	err = bus.Run(ctx)
//
// # How it maps
//
//	topic            exchange {exchange_name}: topic, direct, fanout or headers
//	group            queue {exchange_name}.{group}; consumers of a group share it
//	routing key      {aggregate_type}.{event_type}; see RoutingKey
//	publish          mandatory and confirmed; a batch is written, then awaited as one
//	message          body = payload, headers = metadata, all text; message_id = event id
//	ack              after the handlers; many in one where their order allows it
//	nack             never for a failure; what is not finished at a shutdown is requeued
//	order            by key within a consumer; across the group with SingleActiveConsumer
//	in flight        PrefetchCount received, Concurrency handled
//	delivery count   x-delivery-count of quorum queues; classic queues have none
//	dead letters     direct exchange {exchange_name}_dlq, queue {queue}.dlq
//
// Durable queues are quorum queues unless QueueType says otherwise. They count
// deliveries, and what the broker dead-letters by itself is not lost on the way.
// [Config.Plan] prints all that is declared, argument by argument, and exports it
// for RabbitMQ to import; [TopologyPassive] only checks, [TopologyNone] trusts.
//
// It reads and writes what the stock watermill-amqp adapter does with its default
// marshaler, and what the Python library does. Headers of every AMQP type are
// read, as text; a replay writes them back with their types ([KeyAMQP]).
//
// # What is promised
//
// Publish tells each event's outcome: confirmed; refused, among it
// [UnroutableError] for an event that no queue took; unknown, when the connection
// broke or the deadline came between writing and confirmation. While the broker
// blocks publishers (alarm for memory or disk) nothing is sent, and publishing
// ends at its deadline with a [BlockedError].
//
// A consumer outlives everything that the broker does to it: cancelled, queue
// deleted, channel or connection closed, acknowledgement timed out, restarted. It
// comes back with its bindings, those of run time too. An event whose connection
// was lost while it was handled comes again; when its handlers had finished by
// then in this process, it is acknowledged without running them again.
//
// An event of a quorum queue that kills its process each time is buried after
// MaxDeliveries. From the third delivery on it is handled alone, so that what
// shared its fate is not buried with it.
//
// # What can be lost or doubled
//
// Delivered twice: what was being handled at a crash, and what was acknowledged
// within AckDelay before it; what was being handled when a connection was lost and
// went to another process; an event whose outcome was unknown and that was
// published again.
//
// Out of order: an event whose outcome was unknown may come after what its
// publisher published next.
//
// Lost: what a queue held that somebody deleted or purged; in Transient exchanges
// and queues, everything at a restart; events published before a group's queue
// was declared, unless another queue took them, in which case nobody can tell.
//
// Buried with a killer: when what a crash gave back is shared by several consumers,
// each takes the first one over MaxDeliveries that it gets for what killed.
//
// Not promised on classic queues: nothing counts deliveries, so an event that
// kills its process does so for ever. Choose quorum queues.
//
// The dead letter queue is a queue: to look at letters is to take them and put
// them back, which marks them as redelivered and keeps other lookers waiting for
// that moment ([Store]). A look at many letters takes them all, since a quorum
// queue would change their order otherwise; in memory are some megabytes of them.
//
// An alarm for memory or disk lets consumers go on, but not burials, which publish:
// they are tried again until it is over.
//
// # What Close closes
//
// [Bus].Shutdown drains, then closes the two connections that Open made; a
// Config.Connection stays open. Publisher, Subscriber and Store never close the
// Client that they were given.
//
// # Versions
//
// Developed and run against 3.10. What newer brokers do differently is handled,
// and tested on a scripted server rather than on such a broker:
//   - since 4.0 a quorum queue has a delivery limit by default: ours is always
//     set, to the same 20, and on the queue of letters to a number that is never
//     reached;
//   - before 4.3 every return to the queue counts as a delivery, a shutdown's too:
//     MaxDeliveries has room for it. Since then only what failed counts
//     (x-delivery-count), and what was handed back does not (x-acquired-count);
//   - since 4.3 an acknowledgement that times out cancels the consumer instead of
//     closing the channel: both are handled, the former as any cancellation;
//   - since 4.3 transient queues that are not exclusive are refused: Transient
//     then fails at Open with a TopologyError;
//   - since 4.0 the consumer that waits for a quorum queue's acknowledgements, at
//     the end of a drain and before an event is handled alone, may be sent one
//     message, which goes back at once, or has its place among the others.
//
// # In production
//
// PrefetchCount: 100 and more for fast handlers, 1 to share slow work evenly.
// Concurrency: as many as the handlers wait for something else. ConfirmTimeout
// bounds publishes without a deadline. The broker's consumer_timeout (30 minutes)
// must exceed a handler's time with all its retries.
package rabbitbus
