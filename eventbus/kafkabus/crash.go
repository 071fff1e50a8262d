package kafkabus

import (
	"fmt"
	"strconv"
	"strings"
)

// How a record that kills its process is found, with no other store than the
// string that Kafka keeps with each committed offset: see
// docs/decisions/010-kafka-crash-mark.md.

// blindStarts is how many owners of a partition may die without progress from
// one committed offset before its records are handled one at a time.
const blindStarts = 2

const crashFormat = "leat1"

// crash is what the commits of a partition say about its owners' deaths.
type crash struct {
	starts int   // owners that began at the committed offset, the present one included
	until  int64 // records before this offset are handled one at a time
	mark   int64 // the record that was being handled alone; noOffset: none
	tries  int   // how often it was

	begun   bool // this owner has written that it began
	asked   bool // it is about to
	counted bool // it is among the starts
	before  crash0
}

// crash0 is what the owner before left.
type crash0 struct {
	mark  int64
	tries int
}

// String is the metadata of a commit.
func (c crash) String() string {
	if c.starts == 0 && c.until <= 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s;s=%d", crashFormat, c.starts)
	if c.until > 0 {
		fmt.Fprintf(&b, ";u=%d", c.until)
	}
	if c.mark != noOffset && c.tries > 0 {
		fmt.Fprintf(&b, ";m=%d;t=%d", c.mark, c.tries)
	}
	return b.String()
}

// parseCrash reads the metadata of a commit. What others wrote there means
// nothing to us.
func parseCrash(metadata string) crash {
	c := crash{mark: noOffset}
	fields := strings.Split(metadata, ";")
	if fields[0] != crashFormat {
		return c
	}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			continue
		}
		switch key {
		case "s":
			c.starts = int(min(n, 1<<20))
		case "u":
			c.until = n
		case "m":
			c.mark = n
		case "t":
			c.tries = int(min(n, 1<<20))
		}
	}
	return c
}

// inherit is what a new owner begins with.
func inherit(metadata string) crash {
	c := parseCrash(metadata)
	c.before = crash0{mark: c.mark, tries: c.tries}
	return c
}

// begin counts this owner, at the offset that it begins with. span is how many
// records may have been in flight when the one before died.
func (c *crash) begin(at int64, span int) {
	c.starts, c.counted = c.starts+1, true
	if c.starts > blindStarts {
		c.until = max(c.until, at+int64(span))
	}
	if c.until <= at {
		c.until = 0
	}
}

// suspect reports whether the record must be handled alone.
func (c *crash) suspect(offset int64) bool { return offset < c.until }

// deaths returns how many processes the record may have killed.
func (c *crash) deaths(offset int64) int {
	if c.before.mark == offset {
		return blindStarts + c.before.tries
	}
	return blindStarts
}

// marks notes that the record is about to be handled alone.
func (c *crash) marks(offset int64) {
	c.tries = 1
	if c.before.mark == offset {
		c.tries = c.before.tries + 1
	}
	c.mark = offset
}

// progress is what a commit says when the partition has come as far as offset:
// this owner is the only one that began there, if it has begun: over tombstones
// it comes without that.
func (c *crash) progress(offset int64) {
	c.starts = 0
	if c.counted {
		c.starts = 1
	}
	if c.until <= offset {
		c.until = 0
	}
	if c.mark < offset {
		c.mark, c.tries = noOffset, 0
	}
}

// clean is what the last commit of an owner says that goes in peace.
func (c crash) clean(offset int64) string {
	left := crash{mark: noOffset}
	if c.until > offset {
		left.until = c.until
	}
	return left.String()
}
