package redisbus

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func read(answer string) (string, error) {
	var b strings.Builder
	err := eachEntry([]byte(answer), func(id string, fields []field) {
		fmt.Fprintf(&b, "%s:", id)
		for _, f := range fields {
			fmt.Fprintf(&b, " %q=%q", f.name, f.value)
		}
		b.WriteString("\n")
	})
	return b.String(), err
}

// lined makes an answer of lines.
func lined(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

func entriesOf(lines ...string) []string {
	return append([]string{"$1", "s", "*2", "*2", "$3", "1-1", "*4", "$1", "k", "$2", "\r\n", "$0", "", "$1", "v"}, lines...)
}

func TestReply(t *testing.T) {
	last := []string{"*2", "$3", "1-2", "*-1"}
	const want = "1-1: \"k\"=\"\\r\\n\" \"\"=\"v\"\n1-2:\n"
	for name, tc := range map[string]struct{ answer, want string }{
		"RESP2":             {lined(append([]string{"*1", "*2"}, entriesOf(last...)...)...), want},
		"RESP3":             {lined(append([]string{"%1"}, entriesOf(last...)...)...), want},
		"nothing, RESP2":    {lined("*-1"), ""},
		"nothing, RESP3":    {lined("_"), ""},
		"no entries":        {lined("%1", "$1", "s", "*0"), ""},
		"a deleted, RESP3":  {lined("%1", "$1", "s", "*1", "*2", "$3", "1-1", "_"), "1-1:\n"},
		"without any field": {lined("%1", "$1", "s", "*1", "*2", "$3", "1-1", "*0"), "1-1:\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(tc.answer)
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
			// A part of it is an error, not a shorter answer.
			for n := range len(tc.answer) {
				if _, err := read(tc.answer[:n]); !errors.Is(err, errReply) {
					t.Errorf("the first %d bytes: %v", n, err)
				}
			}
		})
	}
}

func TestReply_ServersErrorIsOne(t *testing.T) {
	_, err := read(lined("-NOGROUP No such key"))
	var answer redis.Error
	if !errors.As(err, &answer) || serverError(err) != "NOGROUP" || err.Error() != "NOGROUP No such key" {
		t.Errorf("got %v", err)
	}
}

func TestReply_WhatIsNoAnswer(t *testing.T) {
	for _, answer := range []string{
		lined(":1"), lined("$1", "s"), lined("*1", "$1", "s"), lined("*1", "*3", "$1", "s", "*0", "*0"), lined("%1", ":1", "*0"),
		lined("%1", "$1", "s", "*1", "*3", "$3", "1-1", "*0", "*0"), lined("%1", "$1", "s", "*1", "*2", "$3", "1-1", "*1", "$1", "k"),
		lined("%1", "$1", "s", "*1", "*2", "$-1", "*0"), lined("%x"), lined("%1", "$9223372036854775807", "s"), lined(""), lined("*1", "*-1"),
	} {
		if got, err := read(answer); !errors.Is(err, errReply) || got != "" {
			t.Errorf("%q: %q, %v", answer, got, err)
		}
	}
}

func TestIntake_TakesNoMemoryForWhatCannotBe(t *testing.T) {
	var in intake
	if n, err := io.CopyN(&in, strings.NewReader("short"), 1<<62); n != 0 || !errors.Is(err, errReply) || cap(in.b) != 0 {
		t.Errorf("%d bytes, %v, room for %d", n, err, cap(in.b))
	}
	in.begin()
	if n, err := io.CopyN(&in, strings.NewReader("value\r\nmore"), 7); n != 7 || err != nil || string(in.b) != "value\r\n" {
		t.Errorf("%d bytes, %v, %q", n, err, in.b)
	}
	if n, err := io.CopyN(&in, strings.NewReader("short"), 7); n != 5 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// No answer is a panic, and none costs more memory than it is long.
func FuzzReply(f *testing.F) {
	f.Add([]byte(lined(append([]string{"%1"}, entriesOf()...)...)))
	f.Add([]byte(lined("*1000000000", "*2")))
	f.Fuzz(func(_ *testing.T, answer []byte) {
		_ = eachEntry(answer, func(string, []field) {})
	})
}
