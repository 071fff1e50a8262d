//go:build race

package kafkabus_test

// raced tells the tests that only measure to take less.
const raced = true
