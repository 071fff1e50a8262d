package rabbitbus

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/internal/wire"
)

// KeyAMQP is the metadata key that keeps what a message's metadata cannot hold:
// headers that are not text with their types, a routing key and properties
// other than leat's own. It is there only when there is such a thing, is never
// written to the wire, and makes that a replay writes them as they came.
const KeyAMQP = "_amqp"

// MalformedError reports a message that is neither Watermill's nor an event's.
// The message that stands for it has the body for its payload and the headers
// for its metadata; middleware.Delivery carries this error, so that the dead
// letter middleware buries it as it came and without retries.
type MalformedError struct {
	Err error // what is wrong
}

// Error tells what is wrong, without the contents.
func (e *MalformedError) Error() string { return fmt.Sprintf("rabbitbus: read message: %v", e.Err) }

// Unwrap returns what is wrong.
func (e *MalformedError) Unwrap() error { return e.Err }

// Undecodable marks the error for middleware.DeadLetter.
func (e *MalformedError) Undecodable() bool { return true }

var errForm = errors.New("no known form: neither a Watermill UUID nor an event type among the headers")

// kept is the value of KeyAMQP.
type kept struct {
	RoutingKey      *string          `json:"key,omitempty"`
	Headers         map[string]typed `json:"headers,omitempty"`
	ContentType     string           `json:"content_type,omitempty"`
	ContentEncoding string           `json:"content_encoding,omitempty"`
	CorrelationID   string           `json:"correlation_id,omitempty"`
	ReplyTo         string           `json:"reply_to,omitempty"`
	Type            string           `json:"type,omitempty"`
	AppID           string           `json:"app_id,omitempty"`
	Priority        uint8            `json:"priority,omitempty"`
	empty           bool
}

// headers of the broker's own, about a delivery and not of the message.
const (
	headerDeliveryCount = "x-delivery-count"
	headerAcquiredCount = "x-acquired-count" // since 4.3, where the former counts failures alone
	headerDeath         = "x-death"
)

// brokersOwn reports whether the broker writes the header, and would take one of
// ours for its own.
func brokersOwn(header string) bool {
	return strings.HasPrefix(header, "x-") && (header == headerDeliveryCount || header == headerDeath ||
		strings.HasPrefix(header, "x-first-death-") || strings.HasPrefix(header, "x-last-death-") ||
		header == headerAcquiredCount || header == "x-opt-delivery-count")
}

// decode turns a delivery into a message. keyed says that the routing key means
// something on this exchange. The error is a *MalformedError, and the message is
// there all the same. The message keeps the delivery's memory.
func decode(d *amqp.Delivery, keyed bool) (*message.Message, error) {
	m := message.NewMessage("", d.Body)
	m.Metadata = make(message.Metadata, len(d.Headers))
	k := kept{empty: true}
	for name, v := range d.Headers {
		switch s, isText := v.(string); {
		case name == headerDeliveryCount:
		case isText && name == wire.WatermillUUID:
			m.UUID = s
		case isText:
			m.Metadata[name] = s
		default:
			m.Metadata[name] = text(v)
			if !brokersOwn(name) {
				k.keep(name, v)
			}
		}
	}
	var err error
	if m.UUID == "" {
		if m.Metadata[wire.EventType] == "" {
			err = &MalformedError{Err: errForm}
		}
		m.UUID = cmp.Or(d.MessageId, m.Metadata[wire.EventID])
	}
	if key := d.RoutingKey; keyed && d.Exchange != "" && key != keyOf(m.Metadata) {
		k.RoutingKey, k.empty = &key, false
	}
	k.properties(d)
	if !k.empty {
		packed, jsonErr := json.Marshal(k)
		if jsonErr == nil { // every type that the client reads is one that typed writes
			m.Metadata[KeyAMQP] = string(packed)
		}
	}
	return m, err
}

func (k *kept) keep(name string, v any) {
	if k.Headers == nil {
		k.Headers = make(map[string]typed)
	}
	k.Headers[name], k.empty = typed{v}, false
}

// properties keeps those that leat would not write itself.
func (k *kept) properties(d *amqp.Delivery) {
	if d.ContentType == contentType && d.ContentEncoding == "" && d.CorrelationId == "" && d.ReplyTo == "" &&
		d.Type == "" && d.AppId == "" && d.Priority == 0 {
		return
	}
	if d.ContentType == "" && d.ContentEncoding == "" && d.Type == "" && d.AppId == "" && d.CorrelationId == "" && d.ReplyTo == "" {
		return // a stock adapter's
	}
	k.ContentType, k.ContentEncoding, k.Priority = d.ContentType, d.ContentEncoding, d.Priority
	k.CorrelationID, k.ReplyTo, k.Type, k.AppID = d.CorrelationId, d.ReplyTo, d.Type, d.AppId
	k.empty = false
}

// contentType of what leat publishes, unless metadata says otherwise.
const (
	contentType    = "application/json"
	keyContentType = "content_type"
)

// keyOf is the routing key that the metadata of an event make.
func keyOf(md message.Metadata) string {
	return RoutingKey(md[wire.AggregateType], md[wire.EventType])
}

// publishing is a message in AMQP's form, and where it goes.
type publishing struct {
	exchange, key string
	amqp.Publishing
}

// encode writes a message: every metadata key as a text header, those that came
// in another type as they came.
func encode(exchange string, m *message.Message, transient bool) (publishing, error) {
	if v, ok := m.Metadata[wire.WatermillUUID]; ok && v != m.UUID {
		return publishing{}, fmt.Errorf("metadata %q is reserved for the message's UUID", wire.WatermillUUID)
	}
	p := publishing{exchange: exchange, key: keyOf(m.Metadata)}
	headers := make(amqp.Table, len(m.Metadata)+1)
	size := 0
	for k, v := range m.Metadata {
		if brokersOwn(k) || k == KeyAMQP {
			continue
		}
		if len(k) > maxShort {
			return publishing{}, checkShort("a metadata key", k)
		}
		headers[k] = v
		size += len(k) + len(v) + 6
	}
	headers[wire.WatermillUUID] = m.UUID
	p.Publishing = amqp.Publishing{
		Headers: headers, ContentType: contentType, DeliveryMode: amqp.Persistent,
		MessageId: m.UUID, Timestamp: occurredAt(m.Metadata), Body: m.Payload,
	}
	if transient {
		p.DeliveryMode = amqp.Transient
	}
	if v := m.Metadata[keyContentType]; v != "" {
		p.ContentType = v
	}
	if packed := m.Metadata[KeyAMQP]; packed != "" {
		p.restore(packed)
	}
	if size > maxHeaders {
		return publishing{}, fmt.Errorf("metadata has %d bytes, a frame has room for %d", size, maxHeaders)
	}
	for _, short := range [...]struct{ what, name string }{
		{"the routing key", p.key}, {"the exchange's name", exchange}, {"the UUID", m.UUID}, {"the content type", p.ContentType},
	} {
		if len(short.name) > maxShort {
			return publishing{}, checkShort(short.what, short.name)
		}
	}
	return p, nil
}

// maxHeaders is what a frame of the broker's default size (128 KiB) has room
// for. The broker closes the connection on a larger one.
const maxHeaders = 120 << 10

// restore gives back what KeyAMQP kept. A header that was changed since stays
// as it was changed.
func (p *publishing) restore(packed string) {
	var k kept
	if json.Unmarshal([]byte(packed), &k) != nil {
		return // not ours; the text stays
	}
	for name, t := range k.Headers {
		if v, ok := p.Headers[name].(string); ok && v == text(t.v) {
			p.Headers[name] = t.v
		}
	}
	if k.RoutingKey != nil {
		p.key = *k.RoutingKey
	}
	if k.ContentType != "" {
		p.ContentType = k.ContentType
	}
	p.ContentEncoding, p.CorrelationId, p.ReplyTo = k.ContentEncoding, k.CorrelationID, k.ReplyTo
	p.Type, p.AppId, p.Priority = k.Type, k.AppID, k.Priority
}

// occurredAt is the event's time, in whole seconds; now when it does not tell.
func occurredAt(md message.Metadata) time.Time {
	if s := md[wire.OccurredAt]; s != "" {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t
		}
	}
	return time.Now()
}
