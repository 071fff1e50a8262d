package redisbus

import (
	"encoding"
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
)

// metadata of every length that is encoded in its own way.
func corners() []message.Metadata {
	wide := message.Metadata{}
	for i := range 21 {
		wide[strings.Repeat("k", i)] = ""
	}
	large := message.Metadata{}
	for i := range 66_000 {
		large[string(rune(0x4e00+i%20000))+string(rune('a'+i/20000))] = "v"
	}
	return []message.Metadata{
		{"a": "b"},
		{"": ""},
		{"unicode": "ü😀\x00\r\n"},
		{"raw": "\xff\xfe"},
		wide, large,
		{"31": strings.Repeat("x", 31), "32": strings.Repeat("x", 32), "255": strings.Repeat("x", 255)},
		{"256": strings.Repeat("x", 256), "65535": strings.Repeat("x", 65535), "65536": strings.Repeat("x", 65536)},
	}
}

func TestMetadata_StockReadsOursAndWeReadTheStocks(t *testing.T) {
	stock := redisstream.DefaultMarshallerUnmarshaller{}
	for i, md := range corners() {
		m := message.NewMessage("u", []byte("p"))
		m.Metadata = md
		args, err := newEncoder(FormWatermill).append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]any{}
		for n := 0; n < len(args); n += 2 {
			switch v := args[n+1].(type) {
			case *string:
				values[args[n].(string)] = *v
			case encoding.BinaryMarshaler:
				b, _ := v.MarshalBinary() // these cannot fail
				values[args[n].(string)] = string(b)
			}
		}
		read, err := stock.Unmarshal(values)
		if err != nil || !maps.Equal(read.Metadata, md) || read.UUID != "u" || string(read.Payload) != "p" {
			t.Errorf("corner %d: the stock adapter reads %d keys of %d, %v", i, len(read.Metadata), len(md), err)
		}
		theirs, err := stock.Marshal("topic", m)
		if err != nil {
			t.Fatal(err)
		}
		if ours, want := len(values["metadata"].(string)), len(theirs["metadata"].([]byte)); ours != want {
			t.Errorf("corner %d: %d bytes of metadata, the stock adapter writes %d", i, ours, want)
		}
		got, err := readMetadata(string(theirs["metadata"].([]byte)))
		if err != nil || !maps.Equal(got, md) {
			t.Errorf("corner %d: we read %d keys of %d, %v", i, len(got), len(md), err)
		}
	}
}

func TestReadMetadata_OtherTypesBecomeText(t *testing.T) {
	for packed, want := range map[string]string{
		"\x81\xa1k\x07": "7", "\x81\xa1k\xff": "-1", "\x81\xa1k\xc0": "", "\x81\xa1k\xc2": "false", "\x81\xa1k\xc3": "true",
		"\x81\xa1k\xcc\xff": "255", "\x81\xa1k\xcd\x01\x00": "256", "\x81\xa1k\xce\x00\x01\x00\x00": "65536",
		"\x81\xa1k\xcf\xff\xff\xff\xff\xff\xff\xff\xff": "18446744073709551615",
		"\x81\xa1k\xd0\x80":                             "-128", "\x81\xa1k\xd1\xff\xfe": "-2", "\x81\xa1k\xd2\xff\xff\xff\xfd": "-3",
		"\x81\xa1k\xd3\x80\x00\x00\x00\x00\x00\x00\x00": "-9223372036854775808",
		"\x81\xa1k\xc4\x02ab":                           "ab", "\x81\xa1k\xc5\x00\x02ab": "ab", "\xde\x00\x01\xa1k\xd9\x01v": "v", "\xdf\x00\x00\x00\x01\xa1k\xa1v": "v",
	} {
		md, err := readMetadata(packed)
		if err != nil || md["k"] != want || len(md) != 1 {
			t.Errorf("%q: %v, %v, want %q", packed, md, err, want)
		}
	}
	if md, err := readMetadata("\xc0"); err != nil || len(md) != 0 {
		t.Errorf("nil: %v, %v, want no metadata", md, err)
	}
	for _, packed := range []string{
		"", "x", "\x81", "\x81\xa1k", "\x81\xa5k", "\x81\xa1k\x81\xa1a\xa1b", "\x81\xa1k\x91\x01", "\x81\xa1k\xcb\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x80\x00", "\xdf\xff\xff\xff\xff", "\xde\xff\xff\xa1k", "\x81\xa1k\xdb\xff\xff\xff\xff", "\x81\xa1k\xc6\x7f\xff\xff\xff",
	} {
		if md, err := readMetadata(packed); err == nil {
			t.Errorf("%q was read as %v", packed, md)
		}
	}
}

// Whatever stands in an entry, reading it ends, allocates no more than it
// holds, and what is read is written and read the same.
func FuzzReadMetadata(f *testing.F) {
	for _, seed := range []string{"\x81\xa1k\xa1v", "\xde\x00\x01\xa1k\xd9\x01v", "\xdf\xff\xff\xff\xff", "\xc0", "\x8f\xa0\xa0", "\x82\xa1a\xcc\x01\xa1b\xd0\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, packed string) {
		md, err := readMetadata(packed)
		if err != nil {
			return
		}
		e := newEncoder(FormWatermill)
		e.sort(md)
		again, err := readMetadata(string(appendMetadata(nil, e.sorted)))
		delete(md, fieldUUID) // never written: it is the message's own
		if err != nil || !maps.Equal(again, md) {
			t.Errorf("%q: read %v, after writing %v, %v", packed, md, again, err)
		}
	})
}

// Whatever fields an entry has, there is a message for it.
func FuzzDecode(f *testing.F) {
	f.Add("_watermill_message_uuid", "u", "metadata", "\x81\xa1k\xa1v", "payload", "p")
	f.Add("event_id", "1", "event_type", "T", "payload", "{}")
	f.Add("a", "\xff", "\xfe", "", "", "")
	f.Fuzz(func(t *testing.T, a, x, b, y, c, z string) {
		m, err := decode("1-1", fieldsOf(map[string]any{a: x, b: y, c: z}))
		if m == nil || m.Metadata == nil {
			t.Fatal("no message")
		}
		if err != nil && m.UUID != "1-1" {
			t.Errorf("the stand-in has UUID %q, want the entry's id", m.UUID)
		}
	})
}

func TestCompareIDs(t *testing.T) {
	ordered := []string{"0-0", "0-1", "1-0", "1-9", "1-10", "2-0", "9-0", "10-0", "1767323045678-0", "1767323045678-12"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareIDs(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("compareIDs(%s, %s) = %d", a, b, got)
			}
		}
	}
	for id, want := range map[string]bool{"1-1": true, "1": true, "0-0": true, "": false, "-": false, "+": false, "1-": false, "a-1": false, "1-a": false, "1-1-1": false, "(1-1": false} {
		if isID(id) != want {
			t.Errorf("isID(%q) = %v, want %v", id, !want, want)
		}
	}
}
