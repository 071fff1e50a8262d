package codec_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leat-go/leat/codec"
)

// FuzzJSON_Decode feeds hostile bytes: whatever can be read is written in the
// canonical form, which reads back as the same event, and errors are typed.
func FuzzJSON_Decode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"event_id":"a","EVENT_ID":"b","event_id":"c","metadata":{"n":1e999},"any":[{}]}`))
	f.Add([]byte(`{"occurred_at":"0000-01-01T00:00:00+23:59"}`))
	f.Add([]byte(`{"any":"\ud800\u2028","bytes":"AA==","by_id":{"-1":"x"}}`))
	f.Add([]byte("{\"text\":\"\xff\"}"))
	c := codec.JSON{MaxBytes: 1 << 16, MaxDepth: 16}

	f.Fuzz(func(t *testing.T, data []byte) {
		original := bytes.Clone(data)
		version, versionErr := c.Version(data)
		var e Everything
		err := c.Decode(data, &e)
		if !bytes.Equal(data, original) {
			t.Fatal("the input was changed")
		}
		var decodeError *codec.DecodeError
		if err != nil {
			if !errors.As(err, &decodeError) || err.Error() == "" {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		if versionErr != nil || version != e.EventVersion {
			t.Fatalf("Version = %d, %v, but the event has %d", version, versionErr, e.EventVersion)
		}

		first, err := c.Encode(nil, &e)
		if err != nil {
			// What was read can be too large when it is written: escapes. And a
			// time with an offset can lie outside of what UTC can say.
			var encodeError *codec.EncodeError
			if !errors.As(err, &encodeError) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			if y := e.OccurredAt.Year(); !errors.Is(err, codec.ErrTooLarge) && y >= 0 && y <= 9999 {
				t.Fatalf("read but not written: %v", err)
			}
			return
		}
		var again Everything
		if err := c.Decode(first, &again); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, first)
		}
		e.OccurredAt = e.OccurredAt.Truncate(time.Microsecond)
		if e.Metadata == nil {
			e.Metadata = map[string]any{}
		}
		if !reflect.DeepEqual(normal(e), normal(again)) {
			t.Fatalf("a round trip changes the event\n got %+v\nwant %+v", again, e)
		}
		second, err := c.Encode(nil, &again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("not canonical, error %v\n first %s\nsecond %s", err, first, second)
		}
	})
}

// normal makes two events comparable: time.Time by its instant and offset.
func normal(e Everything) Everything {
	_, offset := e.When.Zone()
	e.When = e.When.In(time.FixedZone("", offset))
	return e
}

// FuzzJSON_Encode feeds hostile values: what is accepted reads back exactly.
func FuzzJSON_Encode(f *testing.F) {
	f.Add("id", "Type", 1, int64(1767323045678901), "agg", int64(3), "", "key", "value", "text", []byte("\x00"))
	f.Add("ü\u2028\"\\", "<&>", -1, int64(-1), "\x00\x7f", int64(-3), "\xff", "", "\xfe", "\ufffd", []byte(nil))
	f.Fuzz(func(t *testing.T, id, typ string, version int, micros int64, agg string, aggVersion int64, tenant, key, value, text string, raw []byte) {
		e := Everything{Base: Base{
			EventID: id, EventType: typ, EventVersion: version, OccurredAt: time.UnixMicro(micros).UTC(),
			AggregateID: agg, AggregateVersion: aggVersion, TenantID: tenant, Metadata: map[string]any{key: value},
		}, Text: text, Bytes: raw, Map: map[string]any{key: []any{value}}}
		doc, err := codec.JSON{}.Encode(nil, &e)
		headerOK := utf8.ValidString(id) && utf8.ValidString(typ) && utf8.ValidString(agg) && utf8.ValidString(tenant)
		yearOK := e.OccurredAt.Year() >= 0 && e.OccurredAt.Year() <= 9999
		if err != nil {
			if headerOK && yearOK && !errors.Is(err, codec.ErrTooLarge) {
				t.Fatalf("refused without a reason: %v", err)
			}
			return
		}
		if !headerOK || !yearOK {
			t.Fatalf("accepted: %s", doc)
		}
		if !utf8.Valid(doc) || bytes.ContainsAny(doc, "\n\r\t") {
			t.Fatalf("not one line of UTF-8: %q", doc)
		}
		var got Everything
		if err := (codec.JSON{}).Decode(doc, &got); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, doc)
		}
		e.Metadata, got.Metadata = nil, nil // invalid UTF-8 is replaced there, as in own fields
		if !reflect.DeepEqual(e.Base, got.Base) {
			t.Fatalf("got %+v, want %+v", got.Base, e.Base)
		}
		if utf8.ValidString(text) && got.Text != text || !bytes.Equal(got.Bytes, raw) {
			t.Fatalf("got %q and %q, want %q and %q", got.Text, got.Bytes, text, raw)
		}
	})
}
