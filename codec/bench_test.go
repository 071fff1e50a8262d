package codec_test

import (
	"encoding/json"
	"testing"

	"github.com/leat-go/leat/codec"
)

// Plain has own fields that cost encoding/json little, so that the benchmarks
// show the codec's own part.
type Plain struct {
	Base
	CustomerID string `json:"customer_id"`
	Cents      int64  `json:"cents"`
}

func plain() *Plain {
	return &Plain{Base: Base(header()), CustomerID: "33333333-3333-4333-8333-333333333333", Cents: 1250}
}

func BenchmarkJSON_Encode(b *testing.B) {
	withMetadata := plain()
	withMetadata.Metadata = map[string]any{"source": "web", "attempt": 1, "tags": []any{"a", "b"}}
	for _, bm := range []struct {
		name  string
		event any
	}{{"plain", plain()}, {"metadata", withMetadata}, {"uuid_and_float", order()}} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			h := header()
			for b.Loop() {
				if _, err := (codec.JSON{}).Encode(&h, bm.event); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("plain_by_encoding/json", func(b *testing.B) { // what it is measured against
		b.ReportAllocs()
		event := plain()
		for b.Loop() {
			if _, err := json.Marshal(event); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkJSON_Decode(b *testing.B) {
	withMetadata := plain()
	withMetadata.Metadata = map[string]any{"source": "web", "attempt": 1, "tags": []any{"a", "b"}}
	for _, bm := range []struct {
		name  string
		event *Plain
	}{{"plain", plain()}, {"metadata", withMetadata}} {
		doc, err := codec.JSON{}.Encode(nil, bm.event)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				var e Plain
				if err := (codec.JSON{}).Decode(doc, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bm.name+"_by_encoding/json", func(b *testing.B) { // what it is measured against
			b.ReportAllocs()
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				var e Plain
				if err := json.Unmarshal(doc, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJSON_Version(b *testing.B) {
	doc, err := codec.JSON{}.Encode(nil, plain())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (codec.JSON{}).Version(doc); err != nil {
			b.Fatal(err)
		}
	}
}
