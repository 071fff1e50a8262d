//go:build race

package integration_test

// raced tells the tests of other people's code that the race detector looks.
const raced = true
