package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/codec"
)

func TestJSON_EncodeWritesTheHeaderItIsGiven(t *testing.T) {
	t.Parallel()
	e := order()
	before := *e
	h := header()
	h.EventType, h.TenantID, h.Metadata = "Renamed", "", map[string]any{"k": 1}

	doc, err := codec.JSON{}.Encode(&h, e)
	if err != nil {
		t.Fatal(err)
	}

	var got OrderCreated
	if err := (codec.JSON{}).Decode(doc, &got); err != nil {
		t.Fatal(err)
	}
	h.Metadata = map[string]any{"k": json.Number("1")}
	if !reflect.DeepEqual(codec.Header(got.Base), h) {
		t.Errorf("header %+v, want %+v", got.Base, h)
	}
	if got.Amount != e.Amount {
		t.Errorf("amount %v, want %v", got.Amount, e.Amount)
	}
	if !reflect.DeepEqual(*e, before) {
		t.Errorf("the event was changed: %+v", e)
	}
}

func TestJSON_EncodeRefuses(t *testing.T) {
	t.Parallel()
	base := Base(header())
	badUTF8, badYear, badMeta := base, base, base
	badUTF8.AggregateID = "a\xff"
	badYear.OccurredAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	badMeta.Metadata = map[string]any{"c": make(chan int)}
	deep := any(1)
	for range 63 {
		deep = []any{deep}
	}
	deepMeta := base
	deepMeta.Metadata = map[string]any{"d": deep}
	for name, tc := range map[string]struct {
		event any
		is    error
		says  string
	}{
		"nothing":               {nil, nil, "codec: encode nil: want a non-nil pointer"},
		"a nil pointer":         {(*OrderCreated)(nil), nil, "want a non-nil pointer"},
		"a value":               {*order(), nil, "want a non-nil pointer"},
		"a pointer to int":      {new(int), nil, "want a non-nil pointer"},
		"no header":             {&struct{ A int }{}, nil, "embeds the event header"},
		"invalid UTF-8 in ids":  {&Bare{badUTF8}, nil, "codec: encode codec_test.Bare: field aggregate_id: not valid UTF-8"},
		"a year of five digits": {&Bare{badYear}, nil, "field occurred_at: year 10000"},
		"a channel in metadata": {&Bare{badMeta}, nil, "field metadata: json: unsupported type: chan int"},
		"not a number":          {&OrderCreated{Base: base, Amount: math.NaN()}, nil, "NaN"},
		"65 levels":             {&Bare{deepMeta}, codec.ErrTooDeep, "more than 64 levels"},
		"2 MiB":                 {&Everything{Base: base, Text: strings.Repeat("x", 2<<20)}, codec.ErrTooLarge, "the limit is 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := codec.JSON{}.Encode(nil, tc.event)
			var encodeError *codec.EncodeError
			if !errors.As(err, &encodeError) {
				t.Fatalf("got %q and error %v, want an EncodeError", doc, err)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error %v does not wrap %v", err, tc.is)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %q does not say %q", err, tc.says)
			}
			if encodeError.ContentType != "application/json" {
				t.Errorf("content type %q", encodeError.ContentType)
			}
		})
	}
}

func TestJSON_DecodeRefuses(t *testing.T) {
	t.Parallel()
	full, err := os.ReadFile("testdata/python_full.json")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(bytes.TrimSpace(full))
	for name, tc := range map[string]struct {
		data string
		is   error
		says string
	}{
		"nothing":             {"", nil, "not a JSON object"},
		"blanks":              {" \n", nil, "not a JSON object"},
		"null":                {"null", nil, "not a JSON object"},
		"a list":              {"[" + doc + "]", nil, "not a JSON object"},
		"MessagePack":         {"\x81\xa1a\x01", nil, "not a JSON object"},
		"half a document":     {doc[:len(doc)/2], nil, "cut off"},
		"one brace":           {"{", nil, "cut off"},
		"two documents":       {doc + doc, nil, "text behind"},
		"a brace too many":    {doc + "}", nil, "text behind"},
		"invalid UTF-8":       {strings.Replace(doc, "u1", "u\xff", 1), nil, "not valid UTF-8"},
		"a wrong type":        {strings.Replace(doc, "12.5", `"4111-1111"`, 1), nil, "field amount: string at byte"},
		"a fraction":          {strings.Replace(doc, `"event_version":1`, `"event_version":41111.5`, 1), nil, "event_version: number at byte"},
		"a time of its own":   {strings.Replace(doc, "2026-01-02T", "2026-41-11T", 1), nil, "a time is not in the form of RFC 3339"},
		"a time with no zone": {strings.Replace(doc, "678901Z", "678901", 1), nil, "a time is not in the form of RFC 3339"},
		"NaN":                 {strings.Replace(doc, "12.5", "NaN", 1), nil, "invalid JSON at byte"},
		"65 levels":           {strings.Replace(doc, "12.5", strings.Repeat("[", 64)+strings.Repeat("]", 64), 1), codec.ErrTooDeep, "more than 64 levels"},
		"a million brackets":  {"{" + strings.Repeat("[", 1_000_000), codec.ErrTooDeep, "more than 64 levels"},
		"1 MiB and one byte":  {doc + strings.Repeat(" ", 1<<20+1-len(doc)), codec.ErrTooLarge, "1048577 bytes, the limit is 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e OrderCreated
			err := codec.JSON{}.Decode([]byte(tc.data), &e)
			var decodeError *codec.DecodeError
			if !errors.As(err, &decodeError) {
				t.Fatalf("error %v, want a DecodeError", err)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error %v does not wrap %v", err, tc.is)
			}
			if !strings.Contains(err.Error(), tc.says) || !strings.HasPrefix(err.Error(), "codec: decode codec_test.OrderCreated: ") {
				t.Errorf("error %q does not say %q", err, tc.says)
			}
			if strings.Contains(err.Error(), "4111") || strings.Contains(err.Error(), "41-11") {
				t.Errorf("error %q tells a value of the payload", err)
			}
			var undecodable interface{ Undecodable() bool }
			if !errors.As(err, &undecodable) || !undecodable.Undecodable() {
				t.Error("consumers cannot tell that it is undecodable")
			}

			// A decoder that was spoiled must not come back from the pool.
			if err := (codec.JSON{}).Decode(full, new(OrderCreated)); err != nil {
				t.Errorf("the next document fails too: %v", err)
			}
		})
	}
}

func TestJSON_DecodeReads(t *testing.T) {
	t.Parallel()
	base := `{"event_id":"e","occurred_at":"2026-01-02T03:04:05.678901+00:00"`
	t.Run("members in any order, unknown ones ignored", func(t *testing.T) {
		t.Parallel()
		var e Everything
		doc := ` { "text":"x", "new_in_v9":{"a":[1,2,{"b":null}]} , "aggregate_id" : "a" ,"event_id":"e"} ` + "\r\n\t"
		if err := (codec.JSON{}).Decode([]byte(doc), &e); err != nil {
			t.Fatal(err)
		}
		if want := (Everything{Base: Base{EventID: "e", AggregateID: "a"}, Text: "x"}); !reflect.DeepEqual(e, want) {
			t.Errorf("got %+v, want %+v", e, want)
		}
	})
	t.Run("unknown members of a newer producer are gone after a round trip", func(t *testing.T) {
		t.Parallel()
		var e Bare
		if err := (codec.JSON{}).Decode([]byte(base+`,"metadata":{},"new_in_v9":1}`), &e); err != nil {
			t.Fatal(err)
		}
		doc, err := codec.JSON{}.Encode(nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "unknown_fields.json", doc)
	})
	t.Run("times of every offset as UTC", func(t *testing.T) {
		t.Parallel()
		want := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
		for _, text := range []string{"2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678901+00:00", "2026-01-02T05:04:05.678901+02:00"} {
			var e Bare
			if err := (codec.JSON{}).Decode([]byte(`{"occurred_at":"`+text+`"}`), &e); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(e.OccurredAt, want) {
				t.Errorf("%s: %#v, want %#v", text, e.OccurredAt, want)
			}
		}
	})
	t.Run("null as absent", func(t *testing.T) {
		t.Parallel()
		var e Everything
		doc := `{"event_id":null,"event_version":null,"occurred_at":null,"tenant_id":null,"metadata":null,"any":null,"int":null,"text":null}`
		if err := (codec.JSON{}).Decode([]byte(doc), &e); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(e, Everything{}) {
			t.Errorf("got %+v, want the zero event", e)
		}
	})
	t.Run("large numbers exactly", func(t *testing.T) {
		t.Parallel()
		const big = "123456789012345678901234567890.10"
		var e Everything
		doc := base + `,"metadata":{"n":` + big + `},"any":[` + big + `],"int":-9223372036854775808,"uint":18446744073709551615}`
		if err := (codec.JSON{}).Decode([]byte(doc), &e); err != nil {
			t.Fatal(err)
		}
		if e.Metadata["n"] != json.Number(big) || !reflect.DeepEqual(e.Any, []any{json.Number(big)}) {
			t.Errorf("got %v and %v, want %s in both", e.Metadata, e.Any, big)
		}
		if e.Int != math.MinInt64 || e.Uint != math.MaxUint64 {
			t.Errorf("got %d and %d", e.Int, e.Uint)
		}
	})
	t.Run("exactly at the limits", func(t *testing.T) {
		t.Parallel()
		doc := []byte(`{"any":[[1]],"text":"[[[{{{\"[[["}`)
		if err := (codec.JSON{MaxBytes: len(doc), MaxDepth: 3}).Decode(doc, new(Everything)); err != nil {
			t.Error(err)
		}
		if err := (codec.JSON{MaxDepth: 2}).Decode(doc, new(Everything)); !errors.Is(err, codec.ErrTooDeep) {
			t.Errorf("error %v, want ErrTooDeep", err)
		}
		if err := (codec.JSON{MaxBytes: len(doc) - 1}).Decode(doc, new(Everything)); !errors.Is(err, codec.ErrTooLarge) {
			t.Errorf("error %v, want ErrTooLarge", err)
		}
	})
	t.Run("anything without limits", func(t *testing.T) {
		t.Parallel()
		c := codec.JSON{MaxBytes: codec.NoLimit, MaxDepth: codec.NoLimit}
		doc := `{"any":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"text":"` + strings.Repeat("x", 2<<20) + `"}`
		var e Everything
		if err := c.Decode([]byte(doc), &e); err != nil {
			t.Fatal(err)
		}
		if len(e.Text) != 2<<20 {
			t.Errorf("%d bytes of text, want %d", len(e.Text), 2<<20)
		}
		if _, err := c.Encode(nil, &Everything{Text: e.Text}); err != nil {
			t.Error(err)
		}
	})
}

func TestJSON_DecodeOwnsWhatItReturns(t *testing.T) {
	t.Parallel()
	data := []byte(`{"event_id":"id","metadata":{"k":"v"},"text":"text","bytes":"AAEC"}`)
	var e Everything
	if err := (codec.JSON{}).Decode(data, &e); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'X'
	}
	if err := (codec.JSON{}).Decode([]byte(`{"event_id":"other","text":"other other other other other"}`), new(Everything)); err != nil {
		t.Fatal(err)
	}
	if e.EventID != "id" || e.Text != "text" || e.Metadata["k"] != "v" || !bytes.Equal(e.Bytes, []byte{0, 1, 2}) {
		t.Errorf("the event changed with the buffer: %+v", e)
	}
}

func TestJSON_EncodedBytesAreTheCallers(t *testing.T) {
	t.Parallel()
	first, err := codec.JSON{}.Encode(nil, order())
	if err != nil {
		t.Fatal(err)
	}
	kept := bytes.Clone(first)
	other := order()
	other.EventID = strings.Repeat("z", 36)
	if _, err := (codec.JSON{}).Encode(nil, other); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, kept) {
		t.Error("a later Encode wrote into the bytes of an earlier one")
	}
}

func TestJSON_Version(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]int{
		`{"event_id":"e","event_version":7}`:    7,
		`{"a":{"event_version":1},"b":[{}]}`:    0,
		`{"event_version":null}`:                0,
		`{"event_version":1,"event_version":2}`: 2,
	} {
		if got, err := (codec.JSON{}).Version([]byte(doc)); got != want || err != nil {
			t.Errorf("Version(%s) = %d, %v, want %d", doc, got, err, want)
		}
	}
	var decodeError *codec.DecodeError
	for _, doc := range []string{``, `[]`, `{"event_version":"x"}`, `{"event_version":1`, `{"event_version":1} 2`} {
		if got, err := (codec.JSON{}).Version([]byte(doc)); !errors.As(err, &decodeError) {
			t.Errorf("Version(%s) = %d, %v, want a DecodeError", doc, got, err)
		}
	}
	if _, err := (codec.JSON{MaxBytes: 3}).Version([]byte(`{"event_version":1}`)); !errors.Is(err, codec.ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
}

func TestJSON_ConcurrentUse(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	shared := order()
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				h := header()
				h.EventID = fmt.Sprintf("%d-%d", i, j)
				doc, err := codec.JSON{}.Encode(&h, shared)
				if err != nil {
					t.Error(err)
					return
				}
				var e OrderCreated
				if err := (codec.JSON{}).Decode(doc, &e); err != nil || e.EventID != h.EventID {
					t.Errorf("event %q came back as %q, error %v", h.EventID, e.EventID, err)
					return
				}
				if j%10 == 0 {
					_ = codec.JSON{}.Decode(doc[:len(doc)-1-j], &e) // spoils decoders of the pool
				}
			}
		})
	}
	wg.Wait()
}

func TestJSON_PanicOfAUsersMethodSpoilsNothing(t *testing.T) {
	t.Parallel()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = codec.JSON{}.Encode(nil, &Moody{Base: Base(header()), Mood: 1})
	}()
	doc, err := codec.JSON{}.Encode(nil, &Moody{Base: Base(header())})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "moody.json", doc)
}

type Moody struct {
	Base
	Mood Mood `json:"mood"`
}

type Mood int

func (m Mood) MarshalJSON() ([]byte, error) {
	if m != 0 {
		panic("bad mood")
	}
	return []byte(`"good"`), nil
}
