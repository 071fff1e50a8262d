package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"maps"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// keyName is the metadata that names the key of an encrypted payload.
const keyName = "encryption_key"

// Encryption keeps payloads secret on their way and in the broker: AES-256-GCM,
// bound to the message's id and type. Routing, order and tracing need the
// metadata only, which stays readable. Dead letters keep what was in the
// broker, so they are encrypted too, and a replay publishes them as they are.
type Encryption struct {
	current string // the key for what is published
	keys    map[string]cipher.AEAD
}

// NewEncryption takes the keys by name, 32 bytes each, and the name of the one
// to encrypt with. To change keys, add one everywhere, then make it the current one.
func NewEncryption(current string, keys map[string][]byte) (*Encryption, error) {
	e := &Encryption{current: current, keys: map[string]cipher.AEAD{}}
	for name, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("encryption: key %q: %w", name, err)
		}
		if e.keys[name], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("encryption: key %q: %w", name, err)
		}
	}
	if e.keys[current] == nil {
		return nil, fmt.Errorf("encryption: there is no key %q", current)
	}
	return e, nil
}

// Publisher decorates one of leat's publishers. It keeps PublishBatch, with which
// a bus sends many events in one round trip and learns what became of each.
func (e *Encryption) Publisher(pub eventbus.BatchPublisher) eventbus.BatchPublisher {
	return sealing{pub, e}
}

// PlainPublisher decorates any other publisher of Watermill's.
func (e *Encryption) PlainPublisher(pub message.Publisher) message.Publisher {
	return sealingPlain{pub, e}
}

type sealing struct {
	eventbus.BatchPublisher
	e *Encryption
}

func (s sealing) Publish(topic string, msgs ...*message.Message) error {
	return s.BatchPublisher.Publish(topic, s.e.sealAll(msgs)...)
}

func (s sealing) PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error {
	return s.BatchPublisher.PublishBatch(ctx, topic, s.e.sealAll(msgs))
}

type sealingPlain struct {
	message.Publisher
	e *Encryption
}

func (s sealingPlain) Publish(topic string, msgs ...*message.Message) error {
	return s.Publisher.Publish(topic, s.e.sealAll(msgs)...)
}

func (e *Encryption) sealAll(msgs []*message.Message) []*message.Message {
	sealed := make([]*message.Message, len(msgs))
	for i, msg := range msgs {
		if sealed[i] = msg; msg.Metadata[keyName] != "" {
			continue // a letter on its way back
		}
		payload := e.keys[e.current].Seal(nil, nil, msg.Payload, bound(msg))
		sealed[i] = with(msg, payload)
		sealed[i].Metadata[keyName] = e.current
	}
	return sealed
}

// Middleware is the message.HandlerMiddleware of the consumers, outside of
// everything that looks at payloads. It hands on a copy: the message itself
// stays as it was in the broker, for the letter that it may become.
func (e *Encryption) Middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		payload, err := e.open(msg)
		if err != nil {
			return nil, middleware.Permanent(err)
		}
		return next(with(msg, payload))
	}
}

func (e *Encryption) open(msg *message.Message) ([]byte, error) {
	name := msg.Metadata[keyName]
	if name == "" {
		return nil, errors.New("encryption: it came in the clear")
	}
	key := e.keys[name]
	if key == nil {
		return nil, fmt.Errorf("encryption: there is no key %q", name)
	}
	payload, err := key.Open(nil, nil, msg.Payload, bound(msg))
	if err != nil {
		return nil, errors.New("encryption: it was changed on its way, or the key is another one")
	}
	return payload, nil
}

// bound is what a payload belongs to: under another id or type it does not open.
func bound(msg *message.Message) []byte {
	return []byte(msg.UUID + "\x00" + msg.Metadata[eventbus.KeyEventType])
}

// with returns a copy with another payload.
func with(msg *message.Message, payload []byte) *message.Message {
	c := message.NewMessage(msg.UUID, payload)
	c.Metadata = maps.Clone(msg.Metadata)
	if c.Metadata == nil {
		c.Metadata = message.Metadata{}
	}
	c.SetContext(msg.Context()) // wrap a message's context or keep it, never replace it
	return c
}
