// Package aggregate is event sourcing in small: an aggregate whose state is the
// sum of its events, a repository that loads and saves it, and publishes what
// it saved.
//
// # The nouns
//
// An aggregate is a struct that embeds [Root] and has an Apply method, the only
// place where its state changes. Its commands look at the state, and say with
// [Raise] what happened. A [Repository] makes it (New), builds it from its
// events (Load), and stores and publishes the new ones (Save). A [Store] keeps
// the events; [MemStore] does so in memory.
//
// # What Save does
//
//  1. Append the new events, if nobody else has appended to the aggregate since
//     it was loaded. Otherwise: a [*ConflictError], and nothing happened.
//  2. Publish them. The store has noted with the append that they are not
//     published yet.
//  3. Take that note away.
//
// When 2 or 3 fails, Save returns an [*UnpublishedError]: the change is made,
// the news of it is not out, or not known to be. When the process dies between
// the steps, nobody is told, but the note is there. Either way
// [Repository.PublishPending] publishes what is noted; call it at the start of
// the program and now and then. So published means at least once: what was
// published and not unmarked before a crash is published again.
//
// # Order
//
// The events of one aggregate are published in the order of their versions.
// Events that an earlier Save could not publish go before the new ones. Two
// Saves of one aggregate that overlap in time publish as each is fast; handlers
// can see it from the aggregate version. Nothing here holds a lock while
// handlers run: a handler may load and save the aggregate whose event it
// handles.
//
// What a bus would refuse for good (a type that is not registered, an event that
// is too large) it is asked about before the append: Save then returns an
// [*InvalidError], and nothing happened. A [Publisher] without a Check method as
// a bus has it cannot be asked; what it refuses is stored, and that and what
// follows of its aggregate stays pending until it is mended.
package aggregate
