package main

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from a worker: the process that started
// it says when it is time to stop.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
