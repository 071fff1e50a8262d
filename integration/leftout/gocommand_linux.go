package leftout

import (
	"fmt"
	"os"
	"syscall"
)

// System calls that package syscall does not know; their numbers are the same on
// every architecture.
const (
	sysPidfdOpen  = 434
	sysPidfdGetfd = 438
)

// parentStderr returns the parent's own standard error, position in a log file
// included, which takes the right to trace it: root's, mostly. Failing that it
// opens a terminal or a pipe once more. A file opened once more would have a
// position of its own: two writers would overwrite each other.
func parentStderr() (*os.File, error) {
	const name = "standard error of the go command"
	pidfd, _, errno := syscall.Syscall(sysPidfdOpen, uintptr(os.Getppid()), 0, 0)
	if errno == 0 {
		fd, _, errno := syscall.Syscall(sysPidfdGetfd, pidfd, 2, 0)
		_ = syscall.Close(int(pidfd)) // nothing was written to it
		if errno == 0 {
			return os.NewFile(fd, name), nil
		}
	}
	path := fmt.Sprintf("/proc/%d/fd/2", os.Getppid())
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("leftout: %w", err)
	}
	if info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0 {
		return nil, fmt.Errorf("leftout: the %s is neither a terminal nor a pipe", name)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("leftout: %w", err)
	}

	return f, nil
}
