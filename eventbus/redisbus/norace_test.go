//go:build !race

package redisbus_test

const raced = false
