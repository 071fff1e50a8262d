//go:build !race

package rabbitbus_test

const raced = false
