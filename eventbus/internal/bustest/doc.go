// Package bustest is what the tests of the brokers' backends have in common, and
// what has nothing to do with a broker: to wait, to read the log, and to judge
// what a fault did to a stream of events.
//
// It is for tests alone. What users test a bus with is eventbustest.
package bustest
