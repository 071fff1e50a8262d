package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// kind is what a JSON value begins with.
type kind string

const (
	text   kind = `"`
	number kind = `-0123456789`
)

// Schema says which fields the events of a type must have. Decoding would fill
// in zeros for what is missing, and handlers would send invoices of 0.00.
type Schema map[string]map[string]kind

// Middleware is the message.HandlerMiddleware. On a bus it sees each message
// once, before it is decoded; what it refuses for good becomes a letter with
// the reason, and reaches no handler.
func (s Schema) Middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if err := s.check(msg); err != nil {
			return nil, middleware.Permanent(err)
		}
		return next(msg)
	}
}

// SchemaError tells what is wrong with a message, without its values.
type SchemaError struct {
	EventType string
	Problems  []string
}

func (e *SchemaError) Error() string {
	return "schema of " + e.EventType + ": " + strings.Join(e.Problems, ", ")
}

func (s Schema) check(msg *message.Message) error {
	eventType := msg.Metadata[eventbus.KeyEventType]
	var document map[string]json.RawMessage
	if err := json.Unmarshal(msg.Payload, &document); err != nil {
		return &SchemaError{eventType, []string{"it is no JSON object"}}
	}
	var problems []string
	for field, want := range s[eventType] {
		switch value, ok := document[field]; {
		case !ok:
			problems = append(problems, field+" is missing")
		case !strings.Contains(string(want), string(value[:1])):
			problems = append(problems, fmt.Sprintf("%s begins with a %q", field, value[:1]))
		}
	}
	if problems == nil {
		return nil
	}
	slices.Sort(problems)
	return &SchemaError{eventType, problems}
}
