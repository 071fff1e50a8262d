// Package offspring ends the helper processes of tests with the test that started
// them, however that ends: one that is killed runs no cleanup, and what it leaves
// behind would work on.
package offspring

import (
	"context"
	"io"
	"os"
	"os/exec"
)

// Command returns the command that runs this program again, with a standard input
// that ends with this process.
func Command() (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), self) // its standard input ends it
	if _, err := cmd.StdinPipe(); err != nil {             // Wait closes it
		return nil, err
	}
	return cmd, nil
}

// EndWithParent ends this process when its standard input does. The program that
// [Command] started calls it first. It does not block.
func EndWithParent() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it, nobody is there
		os.Exit(1)
	}()
}
