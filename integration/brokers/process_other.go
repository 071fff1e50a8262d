//go:build !linux

package brokers

import (
	"errors"
	"os"
	"syscall"
)

// Brokers are started natively on Linux only; elsewhere Docker does it. These
// stand-ins keep the package, and every test that imports it, compiling.

var errNotLinux = errors.New("brokers are started without Docker on Linux only: install Docker with the compose plugin, " +
	"or start the servers yourself and give their addresses in LEAT_TEST_REDIS_URL, LEAT_TEST_RABBITMQ_URL, LEAT_TEST_KAFKA_BROKERS")

func detached(bool) *syscall.SysProcAttr   { return nil }
func sendSignal(int, syscall.Signal) error { return errNotLinux }
func interrupt(int) error                  { return errNotLinux }
func identify(pid int) identity            { return identity{PID: pid} }
func (id identity) alive() bool            { return false }
func marked(string) []identity             { return nil }
func lockFile(*os.File, bool) error        { return nil }
func native() error                        { return errNotLinux }

const (
	sigStop = syscall.Signal(0)
	sigCont = syscall.Signal(0)
)
