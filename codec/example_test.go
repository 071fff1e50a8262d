package codec_test

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/leat-go/leat/codec"
)

// ItemAdded embeds a header, as every event does; eventbus.Base is one.
type ItemAdded struct {
	Base
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

func ExampleJSON_Encode() {
	e := ItemAdded{
		Base: Base{
			EventID: "e-1", EventType: "ItemAdded", EventVersion: 1, AggregateID: "order-7", AggregateType: "Order",
			AggregateVersion: 2, OccurredAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
		Item: "tea", Quantity: 3,
	}
	doc, err := codec.JSON{}.Encode(nil, &e)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(doc))
	// Output:
	// {"event_id":"e-1","event_type":"ItemAdded","event_version":1,"occurred_at":"2026-01-02T03:04:05Z","aggregate_id":"order-7","aggregate_type":"Order","aggregate_version":2,"tenant_id":null,"actor_id":null,"correlation_id":null,"causation_id":null,"metadata":{},"item":"tea","quantity":3}
}

func ExampleJSON_Decode() {
	var e ItemAdded
	err := codec.JSON{}.Decode([]byte(`{"event_id":"e-1","aggregate_id":"order-7","item":"tea","quantity":3,"new":true}`), &e)
	fmt.Println(e.EventID, e.AggregateID, e.Item, e.Quantity, err)

	err = codec.JSON{MaxDepth: 2}.Decode([]byte(`{"a":[[1]]}`), &e)
	fmt.Println(errors.Is(err, codec.ErrTooDeep))
	fmt.Println(err)
	// Output:
	// e-1 order-7 tea 3 <nil>
	// true
	// codec: decode codec_test.ItemAdded: document nested too deep: more than 2 levels
}

func ExampleCheck() {
	type OrderShipped struct {
		Base
		Tenant string `json:"tenant_id"`
		Done   chan bool
	}
	fmt.Println(codec.Check(reflect.TypeFor[ItemAdded]()))
	fmt.Println(codec.Check(reflect.TypeFor[OrderShipped]()))
	// Output:
	// <nil>
	// codec: check codec_test.OrderShipped: field Tenant has the JSON name "tenant_id" of a header field
	// codec: check codec_test.OrderShipped: field Done: JSON cannot carry a chan bool
}
