package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/leat-go/leat/codec"
)

func TestCheck_AcceptsEvents(t *testing.T) {
	t.Parallel()
	type node struct {
		Children []*node
		Parent   *node
	}
	type tree struct {
		Base
		Root   node
		When   *time.Time
		ID     uuid.UUID
		ByID   map[uuid.UUID]any
		Raw    json.RawMessage
		hidden chan int
		Hidden func() `json:"-"`
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[OrderCreated](), reflect.TypeFor[*OrderCreated](), reflect.TypeFor[Bare](),
		reflect.TypeFor[Everything](), reflect.TypeFor[Wrapped](), reflect.TypeFor[tree](), reflect.TypeFor[Moody](),
	} {
		if err := codec.Check(typ); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		if _, err := (codec.JSON{}).Encode(nil, reflect.New(deref(typ)).Interface()); err != nil {
			t.Errorf("%s: accepted, but %v", typ, err)
		}
	}
	_ = tree{hidden: nil}
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

type hidden codec.Header

type otherTags struct {
	EventID          string         `json:"id"`
	EventType        string         `json:"event_type"`
	EventVersion     int            `json:"event_version"`
	OccurredAt       time.Time      `json:"occurred_at"`
	AggregateID      string         `json:"aggregate_id"`
	AggregateType    string         `json:"aggregate_type"`
	AggregateVersion int64          `json:"aggregate_version"`
	TenantID         string         `json:"tenant_id"`
	ActorID          string         `json:"actor_id"`
	CorrelationID    string         `json:"correlation_id"`
	CausationID      string         `json:"causation_id"`
	Metadata         map[string]any `json:"metadata"`
}

type withMarshal struct{ Base }

func (*withMarshal) MarshalJSON() ([]byte, error) { return nil, nil }

type withText struct{ Base }

func (withText) MarshalText() ([]byte, error)  { return nil, nil }
func (*withText) UnmarshalText(_ []byte) error { return nil }

func TestCheck_RefusesWhatWouldLoseData(t *testing.T) {
	t.Parallel()
	const first = "first field must embed"
	for name, tc := range map[string]struct {
		typ  reflect.Type
		says []string
	}{
		"nothing":   {nil, []string{"no type"}},
		"no struct": {reflect.TypeFor[int](), []string{"is a int, want a struct"}},
		"no fields": {reflect.TypeFor[struct{}](), []string{first}},
		"header last": {reflect.TypeFor[struct {
			A int
			Base
		}](), []string{first, `the JSON name "event_id"`}},
		"header named": {reflect.TypeFor[struct{ Header Base }](), []string{first}},
		"header tagged": {reflect.TypeFor[struct {
			Base `json:"base"`
		}](), []string{first}},
		"header by pointer": {reflect.TypeFor[struct{ *Base }](), []string{first}},
		"header unexported": {reflect.TypeFor[struct{ hidden }](), []string{first}},
		"other JSON names":  {reflect.TypeFor[struct{ otherTags }](), []string{first}},
		"a header field again": {reflect.TypeFor[struct {
			Base
			ID string `json:"tenant_id"`
		}](), []string{`field ID has the JSON name "tenant_id" of a header field`}},
		"a header field in an embedded struct": {reflect.TypeFor[struct {
			Base
			Extra struct{} `json:"extra"`
			CompanyBase
		}](), []string{`field CompanyBase.Base.EventID has the JSON name "event_id"`}},
		"one name twice": {reflect.TypeFor[struct {
			Base
			A int `json:"B"`
			B int
		}](), []string{`fields A and B have one JSON name, "B"`}},
		"MarshalJSON": {reflect.TypeFor[withMarshal](), []string{"has a method MarshalJSON"}},
		"MarshalText": {reflect.TypeFor[withText](), []string{"has a method MarshalText", "has a method UnmarshalText"}},
		"embedded time": {reflect.TypeFor[struct {
			Base
			time.Time
		}](), []string{"has a method MarshalJSON", "has a method UnmarshalJSON"}},
		"a channel": {reflect.TypeFor[struct {
			Base
			C []map[string]chan int
		}](), []string{"field C: JSON cannot carry a chan int"}},
		"a function in a struct": {reflect.TypeFor[struct {
			Base
			S struct{ F func() }
		}](), []string{"field S.F: JSON cannot carry a func()"}},
		"an interface with methods": {reflect.TypeFor[struct {
			Base
			S fmt.Stringer
			E error
		}](), []string{"field S: a fmt.Stringer cannot be decoded", "field E: a error cannot be decoded"}},
		"map keys": {reflect.TypeFor[struct {
			Base
			M map[float64]int
		}](), []string{"field M: JSON cannot carry map keys of type float64"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := codec.Check(tc.typ)
			var typeError *codec.TypeError
			if !errors.As(err, &typeError) {
				t.Fatalf("error %v, want a TypeError", err)
			}
			for _, want := range tc.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "codec: check ") {
					t.Errorf("line %q does not say where it comes from", line)
				}
			}
		})
	}
}

// Encode without Check: a type that would be written wrongly is still an error,
// never a wrong document.
func TestJSON_EncodeOfAnUncheckedType(t *testing.T) {
	t.Parallel()
	for name, event := range map[string]any{
		"shadowed header field": &struct {
			Base
			ID string `json:"tenant_id"`
		}{ID: "x"},
		"MarshalJSON": &struct {
			Base
			time.Time
		}{},
		"unexported header": &struct{ hidden }{},
		"other JSON names":  &struct{ otherTags }{},
	} {
		doc, err := codec.JSON{}.Encode(nil, event)
		var encodeError *codec.EncodeError
		if !errors.As(err, &encodeError) {
			t.Errorf("%s: got %s and error %v, want an EncodeError", name, doc, err)
		}
	}
}
