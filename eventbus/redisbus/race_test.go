//go:build race

package redisbus_test

// raced tells the tests that only measure to take less.
const raced = true
