// Package linkguard guards by numbers what a user of one package of leat has to
// link: no other backend's client, no test library, and no more third-party
// packages than the ceiling written down here.
//
// The rules are in rules.go. A new package needs a line there; a new dependency
// is a number that somebody raised on purpose.
package linkguard
