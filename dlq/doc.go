// Package dlq is the dead letter: what is kept of a message that could not be
// handled, how it looks on the wire, and what people do with it afterwards.
//
// A [Letter] holds the original message untouched (payload, metadata, UUID,
// key) and beside it why, where, when and for which handlers it failed. A
// [Burier] takes letters; a [Store] can list, count, get, delete and purge them
// too. [Queue] adds the verb that needs both a store and a publisher: Replay,
// which publishes the original message again, waits for the confirmation and
// then removes the letter. A crash in between doubles the message; it never
// loses it.
//
// # Stores
//
//   - [NewMemStore]: in memory, bounded, for tests and the in-memory bus.
//   - [NewTopic]: letters as messages on a topic of any Watermill Pub/Sub. With a
//     publisher alone it buries; with a subscriber that reads the topic from its
//     beginning, without a consumer group, it does the rest too.
//   - The backends bring their own, which know their broker.
//
// # The wire
//
// [Letter.Message] is the original message plus metadata whose keys start with
// [Prefix]; [FromMessage] reads it back, and reads the letters of the Python
// library as well. No other metadata may use the prefix: such keys of a user's
// message are dropped.
//
// # What can be lost or doubled
//
// Bury returns nil only when the letter is safe; whoever buries acknowledges the
// original after that, so a crash between the two leaves a letter and a
// redelivery. A replay that dies between publishing and removing leaves the
// letter, which can then be replayed a second time. Nothing is lost in either.
//
// # What blocks, and what is owned
//
// Every method ends with its context, and blocks until the broker has answered;
// those of a MemStore do not block. A listing is lazy: it reads while it is
// ranged over. Store and Publisher of a [Queue] stay the caller's; nothing here is
// closed, and nothing runs behind a call.
//
// This package knows Watermill's message package and nothing of events or
// brokers. Package middleware decides what is buried.
package dlq
