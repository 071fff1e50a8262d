//go:build race

package rabbitbus_test

// raced tells the tests that only measure to take less.
const raced = true
