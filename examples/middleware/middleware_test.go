package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

func msgOf(tenant, eventType, payload string) *message.Message {
	m := message.NewMessage("id-1", []byte(payload))
	m.Metadata = message.Metadata{eventbus.KeyTenantID: tenant, eventbus.KeyEventType: eventType}
	return m
}

func TestTenantLimit_EachTenantHasItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []string
		limit := &TenantLimit{Every: 300 * time.Millisecond, Burst: 2}
		h := limit.Middleware(func(m *message.Message) ([]*message.Message, error) {
			at = append(at, fmt.Sprint(m.Metadata[eventbus.KeyTenantID], time.Since(begun)))
			return nil, nil
		})
		for _, tenant := range []string{"a", "a", "a", "b", "a", "b"} {
			if _, err := h(msgOf(tenant, "T", "")); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"a0s", "a0s", "a300ms", "b300ms", "a600ms", "b600ms"}
		if !slices.Equal(at, want) {
			t.Errorf("%v, want %v", at, want)
		}
	})
}

func TestTenantLimit_AShutdownIsNoFailureAndTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		h := (&TenantLimit{Every: time.Hour, Burst: 1}).Middleware(func(*message.Message) ([]*message.Message, error) { calls++; return nil, nil })
		if _, err := h(msgOf("a", "T", "")); err != nil {
			t.Fatal(err)
		}
		over := errors.New("over")
		ctx, end := context.WithCancelCause(t.Context())
		m := msgOf("a", "T", "")
		m.SetContext(ctx)
		context.AfterFunc(ctx, func() {})
		time.AfterFunc(time.Second, func() { end(over) })
		if _, err := h(m); !errors.Is(err, over) || calls != 1 {
			t.Errorf("err = %v after %d calls", err, calls)
		}
		begun := time.Now()
		if _, err := h(msgOf("a", "T", "")); err != nil || time.Since(begun) != time.Hour-time.Second {
			t.Errorf("err = %v after %v", err, time.Since(begun))
		}
	})
}

func TestSchema(t *testing.T) {
	t.Parallel()
	s := Schema{"T": {"name": text, "cents": number}}
	for payload, want := range map[string]string{
		`{"name":"Ada","cents":-1,"more":[]}`: "",
		`{"name":"Ada"}`:                      "schema of T: cents is missing",
		`{"name":7,"cents":null}`:             `schema of T: cents begins with a "n", name begins with a "7"`,
		`["name","cents"]`:                    "schema of T: it is no JSON object",
		`{`:                                   "schema of T: it is no JSON object",
	} {
		reached := false
		_, err := s.Middleware(func(*message.Message) ([]*message.Message, error) { reached = true; return nil, nil })(msgOf("", "T", payload))
		switch {
		case want == "":
			if err != nil || !reached {
				t.Errorf("%s: %v", payload, err)
			}
		case err == nil || err.Error() != want || reached || !middleware.IsFinal(err):
			t.Errorf("%s: %v, want %s", payload, err, want)
		}
	}
	if err := s.check(msgOf("", "Other", `{}`)); err != nil {
		t.Errorf("a type without a schema: %v", err)
	}
}

// recorder is a publisher of leat's kind.
type recorder struct{ got []*message.Message }

func (r *recorder) Publish(_ string, msgs ...*message.Message) error {
	r.got = append(r.got, msgs...)
	return nil
}

func (r *recorder) PublishBatch(_ context.Context, topic string, msgs []*message.Message) []error {
	_ = r.Publish(topic, msgs...)
	return nil
}

func (r *recorder) Close() error { return nil }

func TestEncryption_ThereAndBack(t *testing.T) {
	t.Parallel()
	old, err := NewEncryption("old", map[string][]byte{"old": make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncryption("new", map[string][]byte{"old": make([]byte, 32), "new": []byte(strings.Repeat("k", 32))})
	if err != nil {
		t.Fatal(err)
	}
	plain := msgOf("acme", "T", `{"card":"4711"}`)
	pub := &recorder{}
	for _, publish := range []func() error{
		func() error { return e.Publisher(pub).Publish("t", plain) },
		func() error {
			return errors.Join(e.Publisher(pub).PublishBatch(t.Context(), "t", []*message.Message{plain})...)
		},
		func() error { return e.PlainPublisher(pub).Publish("t", plain) },
		func() error { return old.Publisher(pub).Publish("t", plain) },    // before the change of keys
		func() error { return e.Publisher(pub).Publish("t", pub.got[0]) }, // a letter, replayed
	} {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	if string(plain.Payload) != `{"card":"4711"}` || plain.Metadata[keyName] != "" {
		t.Errorf("the caller's message was changed: %s, %v", plain.Payload, plain.Metadata)
	}
	if len(pub.got) != 5 || string(pub.got[4].Payload) != string(pub.got[0].Payload) || string(pub.got[1].Payload) == string(pub.got[0].Payload) {
		t.Error("a letter was encrypted twice, or two messages alike")
	}
	for i, m := range pub.got {
		sealed := string(m.Payload)
		_, err := e.Middleware(func(inner *message.Message) ([]*message.Message, error) {
			if string(inner.Payload) != `{"card":"4711"}` || inner.Metadata[eventbus.KeyTenantID] != "acme" || inner.UUID != "id-1" {
				t.Errorf("%d: %s, %v", i, inner.Payload, inner.Metadata)
			}
			return nil, nil
		})(m)
		if err != nil || strings.Contains(sealed, "4711") || string(m.Payload) != sealed {
			t.Errorf("%d: %v; in the broker %q, afterwards %q", i, err, sealed, m.Payload)
		}
	}
	for what, change := range map[string]func(*message.Message){
		"changed on its way": func(m *message.Message) { m.Payload[20] ^= 1 },
		"or the key":         func(m *message.Message) { m.UUID = "id-2" }, // the payload of another message
		"changed":            func(m *message.Message) { m.Metadata[eventbus.KeyEventType] = "U" },
		`no key "lost"`:      func(m *message.Message) { m.Metadata[keyName] = "lost" },
		"in the clear":       func(m *message.Message) { delete(m.Metadata, keyName) },
	} {
		m := with(pub.got[0], slices.Clone(pub.got[0].Payload))
		change(m)
		_, err := e.Middleware(func(*message.Message) ([]*message.Message, error) {
			t.Errorf("%s: it was opened", what)
			return nil, nil
		})(m)
		if err == nil || !strings.Contains(err.Error(), what) || !middleware.IsFinal(err) {
			t.Errorf("err = %v, want %s", err, what)
		}
	}
}

func TestNewEncryption_RefusesBadKeys(t *testing.T) {
	t.Parallel()
	if _, err := NewEncryption("k", map[string][]byte{"k": []byte("short")}); err == nil {
		t.Error("a short key is taken")
	}
	if _, err := NewEncryption("k", map[string][]byte{"j": make([]byte, 32)}); err == nil {
		t.Error("a key that is not there is taken")
	}
}
