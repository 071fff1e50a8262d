package rabbitbus

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// What KeyAMQP holds comes back from other programs, too: nothing in it may
// break a replay, and what we wrote must come back as it was.
func FuzzTyped(f *testing.F) {
	for _, v := range []any{
		nil, true, int8(-1), uint8(1), int16(-2), uint16(2), int32(-3), uint32(3), int64(1 << 60), float32(1.5), 2.5, "text\xff",
		[]byte{0},
		amqp.Decimal{Scale: 3, Value: -1},
		[]any{int32(1), nil},
		amqp.Table{"a": amqp.Table{"b": "c"}},
	} {
		packed, err := json.Marshal(typed{v})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Add([]byte(`["F",{"x":["A",[["?",1]]]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var read typed
		if json.Unmarshal(data, &read) != nil {
			return
		}
		packed, err := json.Marshal(read)
		if err != nil {
			t.Fatalf("%T was read and cannot be written: %v", read.v, err)
		}
		var again typed
		if err := json.Unmarshal(packed, &again); err != nil {
			t.Fatalf("%s cannot be read: %v", packed, err)
		}
		if got, want := fmt.Sprintf("%T %#v", again.v, again.v), fmt.Sprintf("%T %#v", read.v, read.v); got != want {
			t.Errorf("%s is read as %s, want %s", packed, got, want)
		}
		_ = text(read.v)
	})
}

// A header of a delivery that is hostile changes nothing but itself.
func TestRestore_IgnoresWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	for _, packed := range []string{"", "x", `{"key":7}`, `{"headers":{"n":["I","text"]}}`, `{"headers":{"other":["I",1]}}`} {
		m := message.NewMessage("id", nil)
		m.Metadata["event_type"], m.Metadata["n"], m.Metadata[KeyAMQP] = "Tested", "1", packed
		p, err := encode("exchange", m, false)
		if err != nil || p.key != ".Tested" || p.Headers["n"] != "1" || p.Headers["other"] != nil || p.Headers[KeyAMQP] != nil {
			t.Errorf("%q: %v, key %q, %v", packed, err, p.key, p.Headers)
		}
	}
}

// 4.3 and others say what differs in other words than 3.10.
func TestTopologyError_ReadsTheBrokersWords(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string][3]string{
		"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'wire.g' in vhost '/': received the value 'quorum' of type 'longstr' but current is none":                 {"x-queue-type", "quorum", "none"},
		"PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'":                                                      {"durable", "true", "false"},
		"PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/': received 'direct' but current is 'topic'":                                                    {"type", "direct", "topic"},
		"PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost 'v': received the value '20' of type 'long' but current is the value '7' of type 'long'": {"x-delivery-limit", "20", "7"},
		"PRECONDITION_FAILED - something else": {},
	} {
		err := topologyError("queue", "q", &amqp.Error{Code: 406, Reason: reason, Server: true})
		got, ok := err.(*TopologyError) //nolint:errorlint // it is the outermost
		if !ok || [3]string{got.Argument, got.Want, got.Have} != want {
			t.Errorf("%s\nreads %+v, want %v", reason, got, want)
		}
	}
}

// A letter without an id of ours keeps the one that it is given, however often it
// has been looked at.
func TestIdentify_WhatTheBrokerCountsIsNotTheLetter(t *testing.T) {
	t.Parallel()
	name := func(delivered, acquired int) string {
		h := &hold{ids: map[string]int{}}
		return h.identify(&amqp.Delivery{MessageId: "m", Headers: amqp.Table{
			"n": int32(1), headerDeliveryCount: int64(delivered), headerAcquiredCount: int64(acquired),
		}})
	}
	if once, often := name(0, 1), name(3, 7); once != often {
		t.Errorf("named %s and then %s", once, often)
	}
}
