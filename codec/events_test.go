package codec_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// Base stands for eventbus.Base: the same layout, another type.
type Base codec.Header

// OrderCreated is the class whose events were captured from the Python library.
type OrderCreated struct {
	Base
	CustomerID uuid.UUID `json:"customer_id"`
	Amount     float64   `json:"amount"`
	Note       *string   `json:"note"`
}

// Bare has no fields of its own.
type Bare struct{ Base }

// Everything has one field of each kind that behaves in a way of its own.
type Everything struct {
	Base
	Any      any                `json:"any"`
	Map      map[string]any     `json:"map"`
	Int      int64              `json:"int"`
	Uint     uint64             `json:"uint"`
	Number   json.Number        `json:"number,omitempty"`
	Bytes    []byte             `json:"bytes"`
	Text     string             `json:"text"`
	Strings  []string           `json:"strings"`
	When     time.Time          `json:"when"`
	Optional *int               `json:"optional,omitempty"`
	ByID     map[int]string     `json:"by_id"`
	Inner    struct{ A, B int } `json:"inner"`
	Hidden   func()             `json:"-"`
}

// Wrapped embeds the header through a base of the user's own.
type Wrapped struct {
	CompanyBase
	Item string `json:"item"`
}

type CompanyBase struct {
	Base
	Region string `json:"region"`
}

func header() codec.Header {
	return codec.Header{
		EventID:          "11111111-1111-4111-8111-111111111111",
		EventType:        "OrderCreated",
		EventVersion:     1,
		OccurredAt:       time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC),
		AggregateID:      "22222222-2222-4222-8222-222222222222",
		AggregateType:    "Order",
		AggregateVersion: 3,
		TenantID:         "66666666-6666-4666-8666-666666666666",
		ActorID:          "u1",
		CorrelationID:    "44444444-4444-4444-8444-444444444444",
		CausationID:      "55555555-5555-4555-8555-555555555555",
	}
}

func order() *OrderCreated {
	note := "ü"
	return &OrderCreated{
		Base:       Base(header()),
		CustomerID: uuid.MustParse("33333333-3333-4333-8333-333333333333"),
		Amount:     12.5,
		Note:       &note,
	}
}
