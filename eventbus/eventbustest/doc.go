// Package eventbustest is the conformance suite of leat's event buses, and what
// the tests of programs that use them need.
//
// # The suite
//
// [Run] checks every promise that a bus makes, law by law, against any bus that
// a [Harness] can open: leat's own, one on a stock Watermill adapter, or a
// user's. One call is a whole conformance test:
//
//	func TestConformance(t *testing.T) {
//		eventbustest.Run(t, eventbustest.Harness{Name: "mybus", Open: open})
//	}
//
// Every promise is expected. One that the bus cannot keep is declared in
// [Harness].Lacks with the reason; the cases that need it are skipped, visibly,
// and the table at the end says so. [ShowLacks] proves each declaration: it
// fails when the bus can do what its harness says it cannot.
//
// The suite waits for what happens and never sleeps. Its names are unique for
// each case and run, so that runs may share a broker.
//
// # The oracle
//
// A [Ledger] records what was published and with which outcome, what each
// handler began and finished, and what was buried, and then tells whether the
// books balance: confirmed = handled + buried, per key in order, nothing
// invented. Fault tests of any bus can use it.
//
// # For the tests of users
//
// A [Recorder] is a handler that remembers its events and waits for them; a
// [Publisher] is a Watermill publisher that remembers its messages. Both are
// used with a real bus: the in-memory one runs everything before Publish
// returns.
package eventbustest
