package codec_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/codec"
)

var update = flag.Bool("update", false, "write the golden files; a changed one is a breaking change")

// golden compares doc with a file of testdata, which ends with a line feed that
// is not part of the document.
func golden(t *testing.T, name string, doc []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, append(bytes.Clone(doc), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.TrimSuffix(want, []byte{'\n'}); !bytes.Equal(doc, want) {
		t.Errorf("%s: the document changed\n got %s\nwant %s", name, doc, want)
	}
}

func TestJSON_PythonPayloadsSurviveBothWays(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"python_full.json", "python_sparse.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		var e OrderCreated
		if err := (codec.JSON{}).Decode(data, &e); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e.EventType != "OrderCreated" || e.Amount != 12.5 || e.CustomerID.String() != "33333333-3333-4333-8333-333333333333" {
			t.Errorf("%s: decoded %+v", name, e)
		}
		doc, err := codec.JSON{}.Encode(nil, &e)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := bytes.TrimSpace(data); !bytes.Equal(doc, want) { // -update does not touch what was captured
			t.Errorf("%s is written back otherwise\n got %s\nwant %s", name, doc, want)
		}
	}
}

func TestJSON_PythonPayloadIsReadInFull(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/python_full.json")
	if err != nil {
		t.Fatal(err)
	}
	var got OrderCreated
	if err := (codec.JSON{}).Decode(data, &got); err != nil {
		t.Fatal(err)
	}
	want := order()
	want.Metadata = map[string]any{}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got %+v\nwant %+v", &got, want)
	}
}

// corners are the documents whose bytes are a promise.
func corners() map[string]any {
	zero := Base{EventID: "e", EventType: "T"}
	full := Base(header())
	deep := any("bottom")
	for range 60 {
		deep = map[string]any{"d": []any{deep}}
	}
	for range 30 { // 62 levels with the document and its metadata
		deep = deep.(map[string]any)["d"].([]any)[0]
	}
	deepBase := full
	deepBase.Metadata = map[string]any{"deep": deep, "empty": map[string]any{}, "list": []any{}, "no": nil, "yes": true}
	unicode := Base{
		EventID: "ü-€-😀", EventType: "Größe", AggregateID: `quote " backslash \ slash / tab	`, AggregateType: "日本",
		TenantID: "<a&b>", ActorID: "\u2028\u2029", CorrelationID: "\x00\x1f\x7f",
		Metadata: map[string]any{"ключ": "значение", "<&>": "\u2028", "": ""},
	}
	numbers := full
	numbers.EventVersion, numbers.AggregateVersion = math.MaxInt32, math.MaxInt64
	numbers.Metadata = map[string]any{
		"big": json.Number("123456789012345678901234567890"), "exact": json.Number("0.10"), "tiny": json.Number("1e-400"),
		"max": int64(math.MaxInt64), "max_u": uint64(math.MaxUint64), "float": 1e21, "half": 0.5,
	}
	milli, whole, nanos, zoned := full, full, full, full
	milli.OccurredAt = time.Date(2026, 1, 2, 3, 4, 5, 120_000_000, time.UTC)
	whole.OccurredAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	nanos.OccurredAt = time.Date(2026, 1, 2, 3, 4, 5, 999, time.UTC)
	zoned.OccurredAt = time.Date(2026, 1, 2, 3, 4, 5, 999_999_999, time.FixedZone("", -5*3600))
	return map[string]any{
		"empty.json":        &Bare{},
		"bare.json":         &Bare{Base: full},
		"null.json":         &Everything{Base: zero},
		"unicode.json":      &Everything{Base: unicode, Text: "ü \u2028 <b> & \" \\ \x00", Strings: []string{"", "日本"}, Map: map[string]any{"é": nil}},
		"numbers.json":      &Everything{Base: numbers, Int: math.MinInt64, Uint: math.MaxUint64, Number: "12345678901234567890.5", Any: json.Number("98765432109876543210")},
		"deep.json":         &Bare{Base: deepBase},
		"milliseconds.json": &Bare{Base: milli},
		"seconds.json":      &Bare{Base: whole},
		"nanoseconds.json":  &Bare{Base: nanos},
		"zoned.json":        &Bare{Base: zoned},
		"bytes.json":        &Everything{Base: zero, Bytes: []byte{0, 255, 16}, ByID: map[int]string{2: "b", 1: "a"}, When: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))},
		"wrapped.json":      &Wrapped{CompanyBase: CompanyBase{Base: full, Region: "eu"}, Item: "tea"},
	}
}

func TestJSON_Golden(t *testing.T) {
	t.Parallel()
	for name, event := range corners() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := codec.JSON{}.Encode(nil, event)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, doc)

			again := reflect.New(reflect.TypeOf(event).Elem()).Interface()
			if err := (codec.JSON{}).Decode(doc, again); err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
			doc2, err := codec.JSON{}.Encode(nil, again)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(doc, doc2) {
				t.Errorf("a round trip changes the document\n first %s\nsecond %s", doc, doc2)
			}
		})
	}
}

// TestJSON_IsEncodingJSON pins the format to the standard library's: for a
// header that is complete, both write the same bytes.
func TestJSON_IsEncodingJSON(t *testing.T) {
	t.Parallel()
	e := order()
	e.Metadata = map[string]any{"b": []any{1, nil}, "a": "x"}
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	got, err := codec.JSON{}.Encode(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != strings.TrimSuffix(want.String(), "\n") {
		t.Errorf("got  %s\nwant %s", got, want.String())
	}
}
