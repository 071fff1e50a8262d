package rabbitbus

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/wire"
)

const (
	headerWatermill = wire.WatermillUUID

	// What the Python library calls the routing key that a letter came with.
	headerOriginalKey = "x-original-routing-key"

	deathReason   = "x-first-death-reason"
	deathQueue    = "x-first-death-queue"
	deathExchange = "x-first-death-exchange"
)

// letter reads what is in the queue of letters; whatever it is, it is shown.
func (h *hold) letter(d *amqp.Delivery) dlq.Letter {
	d.RoutingKey, d.Exchange = "", "" // those of the burial, which say nothing of the original
	m, err := decode(d, false)
	death := firstDeath(d.Headers)
	own := m.Metadata[dlq.KeyID] != "" || m.Metadata[dlq.KeyReason] != ""
	// FromMessage takes the facts of the broker from these two.
	if reason := death.reason; !own && reason != "" && m.Metadata[deathReason] == "" {
		m.Metadata[deathReason] = reason
	}
	l, _ := dlq.FromMessage(m) // says which facts are unreadable; the rest is shown
	original := l.Metadata[headerOriginalKey]
	for k := range l.Metadata {
		if brokersOwn(k) || k == headerOriginalKey {
			delete(l.Metadata, k) // of its death, not of the original
		}
	}
	switch {
	case own:
	case death.reason != "":
		h.died(&l, death)
	case original != "" || strings.HasPrefix(string(l.Reason), "x-") || l.Reason != "":
		h.python(&l, original)
	default:
		if err != nil {
			l.Reason, l.ErrorMessage = dlq.ReasonUndecodable, err.Error()
		}
		l.Source.Topic, l.Group = h.s.cfg.Exchange, h.s.cfg.ConsumerGroup
	}
	if l.ID == "" {
		l.ID = h.identify(d)
	}
	return l
}

// died completes a letter that the broker buried by itself.
func (h *hold) died(l *dlq.Letter, death death) {
	l.Reason = dlq.Reason(death.reason)
	l.Source.Topic = cmp.Or(death.exchange, h.s.cfg.Exchange)
	if death.queue == QueueName(h.s.cfg.Exchange, h.s.cfg.ConsumerGroup) {
		l.Group = h.s.cfg.ConsumerGroup
		if strings.HasPrefix(death.exchange, "amq.") || death.exchange == "" {
			l.Source.Topic = h.s.cfg.Exchange
		}
	}
	l.ErrorType = "rabbitmq"
	l.ErrorMessage = fmt.Sprintf("dead-lettered by the broker from queue %q: %s", death.queue, death.reason)
	l.BuriedAt = death.at
	l.FirstFailedAt, l.LastFailedAt = death.at, death.at
	h.keepKey(l, death.key)
}

// python completes a letter of the Python library, which tells neither the group
// nor where it came from, because that is where it lies.
func (h *hold) python(l *dlq.Letter, key string) {
	l.Source.Topic, l.Group = cmp.Or(l.Source.Topic, h.s.cfg.Exchange), cmp.Or(l.Group, h.s.cfg.ConsumerGroup)
	h.keepKey(l, key)
}

// keepKey makes that a replay has the original's routing key, where that is not
// the one of its metadata.
func (h *hold) keepKey(l *dlq.Letter, key string) {
	if key == "" || key == keyOf(l.Metadata) {
		return
	}
	var k kept
	if packed := l.Metadata[KeyAMQP]; packed != "" && json.Unmarshal([]byte(packed), &k) != nil {
		return
	}
	k.RoutingKey = &key
	if packed, err := json.Marshal(k); err == nil {
		l.Metadata[KeyAMQP] = string(packed)
	}
}

// identify names a letter without an id of ours: by what it is, so that the name
// is the same each time. Equal letters are numbered.
func (h *hold) identify(d *amqp.Delivery) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %d\n", d.MessageId, d.Timestamp.Unix())
	for _, k := range sortedKeys(d.Headers) {
		if k != headerDeliveryCount && k != headerAcquiredCount {
			fmt.Fprintf(sum, "%q=%q\n", k, text(d.Headers[k]))
		}
	}
	sum.Write(d.Body)
	id := "h-" + hex.EncodeToString(sum.Sum(nil)[:12])
	h.ids[id]++
	if n := h.ids[id]; n > 1 {
		return id + "#" + strconv.Itoa(n)
	}
	return id
}

// ordered reports whether ids like this one are in the order of burial.
func ordered(id string) bool { return len(id) == 36 && id[14] == '7' }

// death is what the broker tells of its first dead-lettering.
type death struct {
	reason, queue, exchange, key string
	at                           time.Time
}

func firstDeath(headers amqp.Table) death {
	var d death
	d.reason, _ = headers[deathReason].(string)
	d.queue, _ = headers[deathQueue].(string)
	d.exchange, _ = headers[deathExchange].(string)
	list, _ := headers[headerDeath].([]any)
	// The newest is first.
	for i := len(list) - 1; i >= 0; i-- {
		entry, ok := list[i].(amqp.Table)
		if !ok {
			continue
		}
		reason, _ := entry["reason"].(string)
		queue, _ := entry["queue"].(string)
		if d.reason != "" && (reason != d.reason || queue != d.queue) {
			continue
		}
		d.reason, d.queue = reason, queue
		if exchange, ok := entry["exchange"].(string); ok && d.exchange == "" {
			d.exchange = exchange
		}
		if keys, ok := entry["routing-keys"].([]any); ok && len(keys) > 0 {
			d.key, _ = keys[0].(string)
		}
		d.at, _ = entry["time"].(time.Time)
		d.at = d.at.UTC()
		break
	}
	return d
}
