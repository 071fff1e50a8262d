package dlq_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// spell writes a message down, one line a fact, in a fixed order.
func spell(m *message.Message) string {
	var out strings.Builder
	fmt.Fprintf(&out, "uuid: %s\n", m.UUID)
	for _, k := range slices.Sorted(maps.Keys(m.Metadata)) {
		fmt.Fprintf(&out, "%s: %q\n", k, m.Metadata[k])
	}
	fmt.Fprintf(&out, "payload: %q\n", []byte(m.Payload))
	return out.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; letters outlive releases, so this is a breaking change\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func full() dlq.Letter {
	at := time.Date(2026, 1, 2, 4, 4, 5, 678901234, time.FixedZone("CET", 3600))
	return dlq.Letter{
		ID: "letter-1", MessageID: "11111111-1111-4111-8111-111111111111", Key: "22222222-2222-4222-8222-222222222222",
		Payload: []byte(`{"note":"ü"}`),
		Metadata: map[string]string{
			"aggregate_id": "22222222-2222-4222-8222-222222222222", "event_type": "OrderCreated",
			"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "empty": "",
		},
		Handlers: []string{"send-invoice", "odd, 100%"}, Reason: dlq.ReasonMaxRetries,
		ErrorType: "*smtp.Error", ErrorMessage: "451 try again\r\nlater",
		Attempts: 4, FirstFailedAt: at.Add(-10 * time.Second), LastFailedAt: at.Add(-time.Second), BuriedAt: at,
		Group: "billing", Source: dlq.Source{Topic: "orders:stream", Partition: 3, Offset: 42, ID: "1526919030474-55"},
		Host: "host-1", Build: "0123abc", Replays: 2,
	}
}

func TestLetter_Golden(t *testing.T) {
	l := full()
	golden(t, "full", spell(l.Message()))
	bare := dlq.Letter{MessageID: "m", Source: dlq.Source{Partition: dlq.NoPosition, Offset: dlq.NoPosition}}
	golden(t, "bare", spell(bare.Message()))
}

func TestLetter_RoundTrip(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		want := randomLetter(random)
		got, err := dlq.FromMessage(want.Message())
		if err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		if diff := dlqtest.Diff(got, want); diff != "" || got.ID != want.ID {
			t.Fatalf("id %q, want %q\n%s", got.ID, want.ID, diff)
		}
	}
}

func randomLetter(r *rand.Rand) dlq.Letter {
	text := func() string {
		runes := []rune("abz ,%2C%25;\"\\\n\x00ü€😀")
		var out strings.Builder
		for range r.IntN(8) {
			out.WriteRune(runes[r.IntN(len(runes))])
		}
		return out.String()
	}
	at := func() time.Time {
		if r.IntN(4) == 0 {
			return time.Time{}
		}
		return time.UnixMicro(r.Int64N(4e15)).UTC()
	}
	l := dlq.Letter{
		ID: text(), MessageID: text(), Key: text(), Payload: []byte(text()), Metadata: map[string]string{},
		Reason: dlq.Reason("r" + text()), ErrorType: text(), ErrorMessage: text(),
		Attempts: r.IntN(5), FirstFailedAt: at(), LastFailedAt: at(), BuriedAt: at(), Group: text(),
		Source: dlq.Source{Topic: text(), Partition: int32(r.IntN(5) - 1), Offset: r.Int64N(1e18) - 1, ID: text()},
		Host:   text(), Build: text(), Replays: r.IntN(4),
	}
	for range r.IntN(4) {
		l.Metadata["k"+text()] = text()
	}
	for range r.IntN(4) {
		// Blanks at the ends are not kept: the list is written by hand at times.
		if name := strings.TrimSpace(text()); name != "" {
			l.Handlers = append(l.Handlers, name)
		}
	}
	return l
}

func TestLetter_ErrorMessageIsCutToCharacters(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"short":     {"ü", "ü"},
		"exact":     {strings.Repeat("ü", 1000), strings.Repeat("ü", 1000)},
		"long":      {strings.Repeat("😀", 1001), strings.Repeat("😀", 1000)},
		"ascii":     {strings.Repeat("x", 5000), strings.Repeat("x", 1000)},
		"not utf-8": {"a\xffb", "a\uFFFDb"},
	} {
		l := dlq.Letter{ErrorMessage: tc.in}
		got := l.Message().Metadata[dlq.KeyErrorMessage]
		if got != tc.want || !utf8.ValidString(got) {
			t.Errorf("%s: %d bytes, want %d", name, len(got), len(tc.want))
		}
	}
}

func TestLetter_ReservedKeysCannotBeForged(t *testing.T) {
	t.Parallel()
	l := dlq.Letter{
		MessageID: "m", Reason: dlq.ReasonPermanent, Source: dlq.Source{Partition: dlq.NoPosition, Offset: dlq.NoPosition},
		Metadata: map[string]string{"dlq_reason": "forged", "dlq_removed": "1,2,3", "dlq_marker": "x", "dlq_new": "y", "mine": "z"},
	}
	want := map[string]string{"dlq_reason": "permanent_error", "mine": "z"}
	if got := l.Message().Metadata; !maps.Equal(got, want) {
		t.Errorf("metadata %v, want %v", got, want)
	}
}

func TestNewLetter_OfAReplayedMessage(t *testing.T) {
	t.Parallel()
	m := message.NewMessage("id-1", []byte("x"))
	m.Metadata = message.Metadata{
		"event_type": "OrderPaid", "aggregate_id": "order-1", "dlq_replay_count": "2",
		"dlq_consumer_group": "billing", "dlq_handlers": "a,b",
	}
	l := dlq.NewLetter(m)
	if want := map[string]string{"event_type": "OrderPaid", "aggregate_id": "order-1"}; !maps.Equal(l.Metadata, want) {
		t.Errorf("metadata %v, want %v", l.Metadata, want)
	}
	if l.Replays != 2 || l.Key != "order-1" || l.MessageID != "id-1" || l.EventType() != "OrderPaid" {
		t.Errorf("letter %+v", l)
	}
	if l.Source.Partition != dlq.NoPosition || l.Source.Offset != dlq.NoPosition {
		t.Errorf("source %+v, want no position", l.Source)
	}
	m.Metadata["event_type"] = "changed"
	if l.EventType() != "OrderPaid" {
		t.Error("the letter shares its metadata with the message")
	}
}

func TestFromMessage_MalformedFactsAreNamedAndTheLetterIsUsable(t *testing.T) {
	t.Parallel()
	m := message.NewMessage("id-1", []byte("raw"))
	m.Metadata = message.Metadata{
		"dlq_reason": "expired", "dlq_attempts": "many", "dlq_timestamp": "yesterday", "dlq_original_offset": "-5",
		"dlq_original_partition": "99999999999", "dlq_replay_count": "1e3", "dlq_first_failed_at": "2026-13-01T00:00:00Z",
		"event_type": "OrderPaid",
	}
	l, err := dlq.FromMessage(m)
	var malformed *dlq.FormatError
	if !errors.As(err, &malformed) {
		t.Fatalf("err = %v, want a *FormatError", err)
	}
	slices.Sort(malformed.Keys)
	want := []string{
		"dlq_attempts", "dlq_first_failed_at", "dlq_original_offset", "dlq_original_partition",
		"dlq_replay_count", "dlq_timestamp",
	}
	if !slices.Equal(malformed.Keys, want) {
		t.Errorf("malformed keys %v, want %v", malformed.Keys, want)
	}
	if strings.Contains(err.Error(), "yesterday") {
		t.Errorf("the error repeats foreign values: %v", err)
	}
	wantLetter := dlq.Letter{
		MessageID: "id-1", Payload: []byte("raw"), Metadata: map[string]string{"event_type": "OrderPaid"}, Reason: "expired",
		Source: dlq.Source{Partition: dlq.NoPosition, Offset: dlq.NoPosition},
	}
	if diff := dlqtest.Diff(l, wantLetter); diff != "" {
		t.Error(diff)
	}
}

func TestFromMessage_Strangers(t *testing.T) {
	t.Parallel()
	if _, err := dlq.FromMessage(nil); err == nil {
		t.Error("a nil message became a letter")
	}
	l, err := dlq.FromMessage(&message.Message{UUID: "id", Payload: []byte{0xff}}) // no metadata map at all
	if err != nil || l.MessageID != "id" || string(l.Payload) != "\xff" || l.Reason != "" {
		t.Errorf("a message without metadata: %+v, %v", l, err)
	}
}

func TestReplayTarget(t *testing.T) {
	t.Parallel()
	m := message.NewMessage("1", nil)
	if target, ok := dlq.ReplayTarget(m); ok {
		t.Errorf("a message that is no replay is aimed at %+v", target)
	}
	m.Metadata = message.Metadata{"dlq_replay_count": "2", "dlq_consumer_group": "g", "dlq_handlers": " a ,,b%2Cc,%252C"}
	target, ok := dlq.ReplayTarget(m)
	if !ok || target.Replays != 2 || target.Group != "g" || !slices.Equal(target.Handlers, []string{"a", "b,c", "%2C"}) {
		t.Errorf("target %+v, %v", target, ok)
	}
	m.Metadata["dlq_replay_count"] = "nonsense"
	if target, ok := dlq.ReplayTarget(m); !ok || target.Replays != 0 {
		t.Errorf("a replay with a malformed count: %+v, %v; it is a replay all the same", target, ok)
	}
}
