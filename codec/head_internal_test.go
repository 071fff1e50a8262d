package codec

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

type headEvent struct {
	Header
	Any any `json:"any"`
}

// bothWays decodes a document with and without parseHead.
func bothWays(data []byte) (fast, slow headEvent, canonical bool, fastErr, slowErr error) {
	c := JSON{}
	fastErr = c.Decode(data, &fast)
	admitted, slowErr := c.admit(data)
	if slowErr == nil {
		_, canonical = parseHead(admitted, new(Header))
		slowErr = unmarshal(admitted, 0, &slow)
	}
	slow.OccurredAt = slow.OccurredAt.UTC()

	return fast, slow, canonical, fastErr, slowErr
}

func TestParseHead_ReadsWhatIsCanonical(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fast, slow, canonical, fastErr, slowErr := bothWays(data)
		if fastErr != nil || slowErr != nil || !reflect.DeepEqual(fast, slow) {
			t.Errorf("%s: read as\n%+v, error %v\nand without parseHead as\n%+v, error %v", file, fast, fastErr, slow, slowErr)
		}
		// Escapes in the header are for encoding/json.
		if escapes := strings.HasSuffix(file, "unicode.json"); canonical == escapes {
			t.Errorf("%s: canonical %v, want %v", file, canonical, !escapes)
		}
	}
}

func TestJSON_ErrorsTellThePlaceInTheDocument(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/bare.json")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.TrimSpace(string(data))
	for range 3 { // also with decoders from the pool
		var e headEvent
		if err := (JSON{}).Decode(data, &e); err != nil {
			t.Fatal(err)
		}
		bad := strings.Replace(doc, `"metadata":{}`, `"metadata":{},"any":!`, 1)
		err := JSON{}.Decode([]byte(bad), &e)
		var decodeError *DecodeError
		if !errors.As(err, &decodeError) {
			t.Fatalf("error %v, want a DecodeError", err)
		}
		if want := "invalid JSON at byte " + strconv.Itoa(strings.IndexByte(bad, '!')+1); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %q, want it to end with %q", err, want)
		}
	}
}

// FuzzParseHead looks for documents that are read in two ways.
func FuzzParseHead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	const head = `{"event_id":"e","event_type":"T","event_version":1,"occurred_at":null,"aggregate_id":"a","aggregate_type":"A",` +
		`"aggregate_version":-0,"tenant_id":null,"actor_id":null,"correlation_id":null,"causation_id":null,"metadata":`
	f.Add(head + `{"a":1},"event_id":"other","EVENT_TYPE":"U","metadata":{"b":2},"any":1e400}`)
	f.Add(head + `null}`)
	f.Add(strings.Replace(head, "-0", "01", 1) + `{}}`)
	f.Add(strings.Replace(head, "-0", "-", 1) + `{}}`)
	f.Add(strings.Replace(head, "-0", "9223372036854775808", 1) + `{}}`)
	f.Add(strings.Replace(head, `"occurred_at":null`, `"occurred_at":"2026-01-02T24:00:00Z"`, 1) + `{}}`)
	f.Add(strings.Replace(head, `"occurred_at":null`, `"occurred_at":"2026-01-02T3:04:05,5+24:00"`, 1) + `{}}`)
	f.Fuzz(func(t *testing.T, data string) {
		fast, slow, _, fastErr, slowErr := bothWays([]byte(data))
		if (fastErr == nil) != (slowErr == nil) {
			t.Fatalf("error %v, without parseHead %v", fastErr, slowErr)
		}
		if fastErr == nil && !reflect.DeepEqual(fast, slow) {
			t.Fatalf("read as\n%+v\nand without parseHead as\n%+v", fast, slow)
		}
	})
}
