package proxy

import (
	"syscall"
	"time"
)

// nap blocks its thread, to within some 60 microseconds.
func nap(d time.Duration) {
	spec := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&spec, nil) // woken early by a signal: early by less than precise
}
