package eventbustest

import (
	"fmt"
	"slices"
	"strings"
)

// Feature names a promise, or an ability of a harness, that not every bus has.
type Feature string

// The features. Every bus is expected to have all of them, except for what its
// [Harness] lists in Lacks.
const (
	// Broker: events pass something that outlives the bus. Two buses on one
	// topic meet there, and Publish does not wait for handlers.
	Broker Feature = "Broker"
	// Synchronous: Publish returns after the handlers, and an event that a
	// handler publishes is handled inside. The opposite of Broker.
	Synchronous Feature = "Synchronous"
	// Order: the events of one publisher that have one key reach each handler
	// in the order of publishing, one at a time.
	Order Feature = "Order"
	// OneStream: a consumer that handles one event at a time gets those of
	// different keys in the order of publishing, too. A partitioned topic does not.
	OneStream Feature = "OneStream"
	// ParallelKeys: while the handlers are busy with one key, events of other
	// keys are handled.
	ParallelKeys Feature = "ParallelKeys"
	// Concurrency: at most Options.Concurrency events are handled at once, and
	// as many as that when there are enough keys.
	Concurrency Feature = "Concurrency"
	// NestedPublish: a handler may publish on its own bus, at any concurrency.
	NestedPublish Feature = "NestedPublish"
	// CompetingConsumers: two buses of one group share its events.
	CompetingConsumers Feature = "CompetingConsumers"
	// IndependentGroups: each group gets every event.
	IndependentGroups Feature = "IndependentGroups"
	// History: a group that is new gets what was published before.
	History Feature = "History"
	// Resumes: a group that stopped goes on where it was: nothing is lost, and
	// nothing that was finished comes again.
	Resumes Feature = "Resumes"
	// QuickShutdown: ending an idle bus takes milliseconds.
	QuickShutdown Feature = "QuickShutdown"
	// Redelivers: what a shutdown hands back unfinished is delivered again.
	Redelivers Feature = "Redelivers"
	// CrashRecovery: what a consumer was handling when it died is handled by
	// another one of its group.
	CrashRecovery Feature = "CrashRecovery"
	// DeliveryLimit: an event that kills its consumer again and again is buried
	// after Options.MaxDeliveries deliveries.
	DeliveryLimit Feature = "DeliveryLimit"
	// SlowHandlers: an event is not given to anybody else while its handler
	// runs, however long that takes.
	SlowHandlers Feature = "SlowHandlers"
	// Injection: the harness can put messages on the topic as another program
	// would.
	Injection Feature = "Injection"
	// ForeignEntries: an entry that is not even in the transport's own form
	// does not stop the consumer.
	ForeignEntries Feature = "ForeignEntries"
	// Letters: dead letters can be listed, replayed, deleted.
	Letters Feature = "Letters"
	// Stalling: the harness can hold up publishing, as a broker that does not
	// answer; or the bus is Synchronous.
	Stalling Feature = "Stalling"
	// Owned: the harness gives something to the bus that it must leave open.
	Owned Feature = "Owned"
	// Secrets: the bus is opened with a secret that must not show.
	Secrets Feature = "Secrets"
)

var features = []Feature{
	Broker, Synchronous, Order, OneStream, ParallelKeys, Concurrency, NestedPublish, CompetingConsumers, IndependentGroups, History,
	Resumes, QuickShutdown, Redelivers, CrashRecovery, DeliveryLimit, SlowHandlers, Injection, ForeignEntries, Letters, Stalling, Owned, Secrets,
}

// Lacks tells which features a bus does not have, each with the reason, which
// is printed with every case that is skipped for it.
type Lacks map[Feature]string

// first returns the first of the needed features that is lacking.
func (l Lacks) first(need []Feature) (Feature, bool) {
	for _, f := range need {
		if _, ok := l[f]; ok {
			return f, true
		}
	}
	return "", false
}

// problems tells what is wrong with the declaration.
func (l Lacks) problems() []string {
	var bad []string
	for f, reason := range l {
		if !slices.Contains(features, f) {
			bad = append(bad, fmt.Sprintf("Lacks: unknown feature %q", f))
		}
		if strings.TrimSpace(reason) == "" {
			bad = append(bad, fmt.Sprintf("Lacks[%s]: give the reason, for whoever reads that it is missing", f))
		}
	}
	slices.Sort(bad)
	return bad
}
