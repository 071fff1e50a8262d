package main

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestConsole_ProgressOnATerminalAndElsewhere(t *testing.T) {
	t.Parallel()
	for _, tty := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var errs screen
			c := &console{out: io.Discard, err: &errs, tty: tty}
			n := 0
			stop := c.progress(func() string {
				n++
				return "status " + thousands(n)
			})
			<-time.After(250 * time.Millisecond)
			c.tell("line 7: bad")
			<-time.After(12 * time.Second)
			stop()
			c.tell("after")
			got := errs.String()
			want := "line 7: bad\nstatus 1\nstatus 2\nafter\n" // plain lines, now and then
			if tty {
				want = "\r\x1b[Kstatus 1\r\x1b[Kstatus 2\r\x1b[Kline 7: bad\nstatus 2\r\x1b[Kstatus 3"
				if !strings.HasSuffix(got, "\nafter\n") {
					t.Errorf("the end is %q", got[len(got)-40:])
				}
				got = got[:len(want)]
			}
			if got != want {
				t.Errorf("terminal %v: got\n%q\nwant\n%q", tty, got, want)
			}
		})
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", -1000: "-1,000", 1234567: "1,234,567", -999: "-999"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
