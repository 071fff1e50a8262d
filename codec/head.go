package codec

import (
	"bytes"
	"strconv"
	"time"
)

// parseHead reads the header's members up to, but without, metadata from a
// document in the canonical form, and returns the offset of "metadata". What is
// written in any other way, however slightly, is not for it: it returns false,
// and encoding/json reads the whole. Both read the same; parseHead takes a third
// of the time, and nearly all documents are canonical.
//
// A null leaves its field as it is, as encoding/json does. The document must be
// valid UTF-8.
func parseHead(doc []byte, h *Header) (metadata int, ok bool) {
	p := headParser{doc: doc}
	p.literal(`{"event_id":`)
	p.text(&h.EventID)
	p.literal(`,"event_type":`)
	p.text(&h.EventType)
	p.literal(`,"event_version":`)
	version := int64(h.EventVersion)
	p.number(&version, strconv.IntSize)
	h.EventVersion = int(version)
	p.literal(`,"occurred_at":`)
	p.time(&h.OccurredAt)
	p.literal(`,"aggregate_id":`)
	p.text(&h.AggregateID)
	p.literal(`,"aggregate_type":`)
	p.text(&h.AggregateType)
	p.literal(`,"aggregate_version":`)
	p.number(&h.AggregateVersion, 64)
	p.literal(`,"tenant_id":`)
	p.text(&h.TenantID)
	p.literal(`,"actor_id":`)
	p.text(&h.ActorID)
	p.literal(`,"correlation_id":`)
	p.text(&h.CorrelationID)
	p.literal(`,"causation_id":`)
	p.text(&h.CausationID)
	p.literal(`,`)
	metadata = p.at
	p.literal(`"metadata":`)

	return metadata, !p.failed
}

// headParser goes through a document; after a failure it stands still.
type headParser struct {
	doc    []byte
	at     int
	failed bool
}

func (p *headParser) literal(want string) {
	if !p.failed && len(p.doc)-p.at >= len(want) && string(p.doc[p.at:p.at+len(want)]) == want {
		p.at += len(want)

		return
	}
	p.failed = true
}

// null skips a null, and reports whether there was one or nothing can be read.
func (p *headParser) null() bool {
	if p.failed {
		return true
	}
	if bytes.HasPrefix(p.doc[p.at:], []byte(`null`)) {
		p.at += len(`null`)

		return true
	}

	return false
}

// quoted returns the inside of a string without escapes.
func (p *headParser) quoted() []byte {
	p.literal(`"`)
	if p.failed {
		return nil
	}
	for i := p.at; i < len(p.doc); i++ {
		switch c := p.doc[i]; {
		case c == '"':
			inside := p.doc[p.at:i]
			p.at = i + 1

			return inside
		case c == '\\' || c < 0x20:
			p.failed = true

			return nil
		}
	}
	p.failed = true

	return nil
}

func (p *headParser) text(to *string) {
	if p.null() {
		return
	}
	if inside := p.quoted(); !p.failed {
		*to = string(inside)
	}
}

// number reads an integer in JSON's form: no leading zero, no plus, no fraction.
func (p *headParser) number(to *int64, bits int) {
	if p.null() {
		return
	}
	end := p.at
	if end < len(p.doc) && p.doc[end] == '-' {
		end++
	}
	digits := end
	for end < len(p.doc) && p.doc[end] >= '0' && p.doc[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(string(p.doc[p.at:end]), 10, bits)
	if err != nil || p.doc[digits] == '0' && end > digits+1 {
		p.failed = true

		return
	}
	*to, p.at = n, end
}

func (p *headParser) time(to *time.Time) {
	if p.null() {
		return
	}
	inside := p.quoted()
	if !p.failed && to.UnmarshalText(inside) != nil {
		p.failed = true
	}
}
