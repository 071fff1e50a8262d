// Command testsummary reads the output of `go test -json` on standard input and
// tells what happened: each package as it ends, the output of what failed, and at
// the end a table of the packages, the tests that were skipped with their
// reasons, and the totals as the last line:
//
//	123 passed, 0 failed, 2 skipped
//
// A test with subtests counts by its subtests: only leaves are counted, so that
// the numbers are those of cases and not of groups. Lines that are not of
// go test are passed through.
//
// The exit code is 0 when everything passed or was skipped, 1 when something
// failed, did not build or did not finish, or when nothing ran at all.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	quiet := flag.Duration("quiet", 30*time.Second, "say what is running after so long a silence; 0 = never")
	flag.Parse()
	os.Exit(run(os.Stdin, os.Stdout, *quiet))
}

// run summarises the events of in and returns the exit code.
func run(in io.Reader, out io.Writer, quiet time.Duration) int {
	lines := make(chan []byte)
	failed := make(chan error, 1)
	go func() {
		defer close(lines)
		failed <- read(in, lines)
	}()

	s := newSummary(out, time.Now)
	var silence <-chan time.Time
	for {
		if quiet > 0 {
			silence = time.After(quiet)
		}
		select {
		case line, ok := <-lines:
			if !ok {
				if err := <-failed; err != nil {
					s.broken(fmt.Sprintf("testsummary: read standard input: %v", err))
				}

				return s.end()
			}
			var e event
			if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
				s.foreign(string(line))

				continue
			}
			s.add(e)
		case <-silence:
			s.stillRunning()
		}
	}
}

// read sends the lines of in, of whatever length.
func read(in io.Reader, lines chan<- []byte) error {
	r := bufio.NewReaderSize(in, 1<<16)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			lines <- line
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
}
