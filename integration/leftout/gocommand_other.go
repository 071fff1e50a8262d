//go:build !linux

package leftout

import (
	"fmt"
	"os"
)

// parentStderr opens the terminal; elsewhere than on Linux there is no way to
// the parent's own.
func parentStderr() (*os.File, error) {
	f, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("leftout: %w", err)
	}

	return f, nil
}
