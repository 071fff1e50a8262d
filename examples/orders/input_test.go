package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
)

func TestInput_BadLinesAreToldAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	good := func(id string) string { return `{"command":"create","order":"` + id + `","customer":"Ann"}` }
	lines := []string{
		"\ufeff" + good("o-1"), // a byte order mark is no harm
		"",
		"   \r",
		good("o-2") + "\r", // nor are Windows' line ends
		`{"command":"pay",`,
		`[1,2]`,
		`"create"`,
		`{"command":"dance","order":"o-1"}`,
		`{"order":"o-1"}`,
		`{"command":"ship","order":"ghost","tracking":"T"}`,
		`{"command":"ship","order":"o-1","tracking":"T"}`,
		good("o-1"),
		strings.Repeat("x", 10<<20),
		good("o-3"),
		`{"command":"add_item","order":"o-1","sku":"tea","quantity":0,"price_cents":-1}`,
		`{"command":"add_item","order":"o-1","sku":"tea","quantity":"many","price_cents":1}`,
		`{"command":"create","order":"","customer":""}`,
		`{"command":"create","order":"a\u001b[2J","customer":"` + strings.Repeat("c", 101) + `"}`,
		good("o-4") + good("o-5"),
		"{\"command\":\"create\",\"order\":\"\xff\",\"customer\":\"x\"}",
		"\x00",
		`{"command":"pay","order":"o-1","amount_cents":1}`,
		`{"command":"create","order":"o-6","customer":"Ann","colour":"red"}`,
		`{"command":"` + strings.Repeat("y", 1000) + `","order":"o-1"}`,
		strings.Repeat(`[`, 60_000),
		good("last"), // without a line end
	}
	r := runOrders(t.Context(), strings.NewReader(strings.Join(lines, "\n")), "-input", "-")
	want := `line 5: not a command: unexpected EOF
line 6: not a command: it must be a JSON object, not array
line 7: not a command: it must be a JSON object, not string
line 8: unknown command "dance": there are create, add_item, pay, ship, cancel
line 9: unknown command "": there are create, add_item, pay, ship, cancel
line 10: ship: order "ghost" does not exist
line 11: ship order "o-1": it is open, and must be paid
line 12: create order "o-1": it exists already
line 13: it has 10,485,761 bytes, at most 65,536 are read
line 15: add_item: "quantity" is 0, must be 1 to 1,000; add_item: "price_cents" is -1, must be 0 to 100,000,000
line 16: not a command: "quantity" cannot be a string
line 17: create: "order" is missing; create: "customer" is missing
line 18: create: "order" has a control character; create: "customer" is longer than 100 bytes
line 19: not a command: something follows the JSON object
line 20: not UTF-8
line 21: not a command: invalid character '\x00' looking for beginning of value
line 22: pay order "o-1": it is empty
line 23: not a command: json: unknown field "colour"
line 24: unknown command "` + strings.Repeat("y", 40) + `…": there are create, add_item, pay, ship, cancel
line 25: not a command: invalid character '[' exceeded max depth
`
	if r.err != want {
		t.Errorf("got\n%s\nwant\n%s", r.err, want)
	}
	if r.code != 0 {
		t.Errorf("got code %d: lines that are refused are no failure of the run", r.code)
	}
	wantAll(t, "the output", r.out, "Read 26 lines of standard input in ", ": 4 commands accepted, 20 refused, 4 events published.\n")
}

func TestInput_OrderOfCommandsIsKept(t *testing.T) {
	t.Parallel()
	var in strings.Builder
	for _, id := range []string{"a", "b", "c", "d"} {
		in.WriteString(`{"command":"create","order":"` + id + `","customer":"x"}` + "\n")
	}
	for range 50 {
		for _, id := range []string{"a", "b", "c", "d"} {
			in.WriteString(`{"command":"add_item","order":"` + id + `","sku":"tea","quantity":1,"price_cents":2}` + "\n")
		}
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		in.WriteString(`{"command":"pay","order":"` + id + `","amount_cents":100}` + "\n")
	}
	r := runOrders(t.Context(), strings.NewReader(in.String()), "-input=-", "-concurrency=4")
	if r.code != 0 || r.err != "" {
		t.Errorf("got code %d, %q: a payment overtook an item", r.code, r.err)
	}
	wantAll(t, "the output", r.out, "208 commands accepted, 0 refused", "ledger      4 payments, 4.00 in all")
}

func TestInput_ADeadLetterFailsTheRun(t *testing.T) {
	t.Parallel()
	in := `{"command":"create","order":"o-1","customer":"Ann"}
{"command":"add_item","order":"o-1","sku":"moon-dust","quantity":1,"price_cents":1}
{"command":"cancel","order":"o-1","reason":"none"}
`
	r := runOrders(t.Context(), strings.NewReader(in), "-input", "-")
	if r.code != 1 {
		t.Errorf("got code %d, want 1", r.code)
	}
	wantAll(t, "standard error", r.err, "Check FAILED: of 3 accepted events, ", "  ItemAdded of order o-1: warehouse gave up on it; it is a dead letter (event ")
	if strings.Contains(r.out, "Check:") {
		t.Errorf("a failed run must not say that all is well:\n%s", r.out)
	}
}

// endless is a line without an end, or nearly.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range n {
		p[i] = 'x'
	}
	e.left -= n
	return n, nil
}

func TestReadLines_ALongLineTakesNoMemory(t *testing.T) { // not parallel: it measures memory
	const size = 32 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for l := range readLines(t.Context(), io.MultiReader(&endless{left: size}, strings.NewReader("\nshort"))) {
		if n++; n == 1 && l.err == nil || n == 2 && (string(l.text) != "short" || l.number != 2) {
			t.Errorf("got line %d %q, %v", l.number, l.text, l.err)
		}
	}
	runtime.ReadMemStats(&after)
	if n != 2 {
		t.Errorf("got %d lines, want 2", n)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("allocated %d bytes for a line of %d", used, size)
	}
}

func TestReadLines_AtTheLimit(t *testing.T) {
	t.Parallel()
	for length, fits := range map[int]bool{maxLine - 2: true, maxLine - 1: true, maxLine: false, maxLine + 1: false} {
		for _, end := range []string{"\n", "\nnext\n"} {
			l := <-readLines(t.Context(), strings.NewReader(strings.Repeat("x", length)+end))
			if (l.err == nil) != fits {
				t.Errorf("%d bytes: got %v", length, l.err)
			}
			if fits && len(l.text) != length {
				t.Errorf("%d bytes: got %d", length, len(l.text))
			}
		}
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestInput_ThatCannotBeRead(t *testing.T) {
	t.Parallel()
	in := io.MultiReader(strings.NewReader(`{"command":"create","order":"o-1","customer":"Ann"}`+"\n"), failingReader{errors.New("disk on fire")})
	r := runOrders(t.Context(), in, "-input", "-")
	if r.code != 1 {
		t.Errorf("got code %d, want 1", r.code)
	}
	wantAll(t, "standard error", r.err, "Stopped: line 2: read the input: disk on fire")
	wantAll(t, "the output", r.out, "1 commands accepted", "Check: all 1 accepted")
}

func TestInput_InterruptedFinishesWhatWasBegun(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	ended := make(chan result)
	go func() { ended <- runOrders(ctx, pr, "-input", "-") }()
	for _, l := range []string{`{"command":"create","order":"o-1","customer":"Ann"}`, `{"command":"create","order":"o-2","customer":"Ann"}`} {
		if _, err := io.WriteString(pw, l+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	interrupt()
	select {
	case r := <-ended:
		if r.code != 130 {
			t.Errorf("got code %d, want 130", r.code)
		}
		wantAll(t, "standard error", r.err, "Interrupted: ")
		wantAll(t, "the output", r.out, "Check: all ")
	case <-time.After(10 * time.Second):
		t.Error("it waits for input that does not come")
	}
	_ = pw.Close() // a pipe: no error
}

// shaky is a bus that is away for a while.
type shaky struct {
	away int
	got  []eventbus.Event
}

func (s *shaky) Publish(_ context.Context, events ...eventbus.Event) error {
	if s.away > 0 {
		s.away--
		return errors.New("away")
	}
	s.got = append(s.got, events...)
	return nil
}

func TestInput_PublishesLaterWhatTheBusDidNotTake(t *testing.T) {
	t.Parallel()
	for away, wantEvents := range map[int]int{2: 1, 1000: 0} {
		bus, errs := &shaky{away: away}, &screen{}
		orders, err := aggregate.NewRepository(aggregate.Config[*Order]{
			Type: orderType, New: func() *Order { return &Order{} }, Store: aggregate.NewMemStore(), Publisher: bus,
		})
		if err != nil {
			t.Fatal(err)
		}
		in := &input{shop: &shop{orders: orders}, console: &console{out: io.Discard, err: errs}, opt: options{concurrency: 1, patience: time.Second}}
		err = in.run(t.Context(), strings.NewReader(`{"command":"create","order":"o-1","customer":"Ann"}`))
		if (err == nil) != (wantEvents == 1) || len(bus.got) != wantEvents {
			t.Errorf("away for %d calls: got %v, and %d events", away, err, len(bus.got))
		}
		wantAll(t, "standard error", errs.String(), "line 1: saved, but not published: away; trying again")
		if n := in.accepted.Load(); n != 1 {
			t.Errorf("got %d accepted: the command is done in any case", n)
		}
	}
}

// abrupt is a bus during whose Publish somebody presses Ctrl-C.
type abrupt struct{ interrupt func() }

func (a abrupt) Publish(ctx context.Context, _ ...eventbus.Event) error {
	a.interrupt()
	return ctx.Err()
}

func TestInput_ACommandDoesNotEndWithTheInput(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	orders, err := aggregate.NewRepository(aggregate.Config[*Order]{
		Type: orderType, New: func() *Order { return &Order{} }, Store: aggregate.NewMemStore(), Publisher: abrupt{interrupt},
	})
	if err != nil {
		t.Fatal(err)
	}
	var errs screen
	in := &input{shop: &shop{orders: orders}, console: &console{out: io.Discard, err: &errs}, opt: options{concurrency: 1, patience: time.Second}}
	err = in.run(ctx, strings.NewReader(`{"command":"create","order":"o-1","customer":"Ann"}`))
	if !errors.Is(err, context.Canceled) || in.accepted.Load() != 1 || errs.String() != "" {
		t.Errorf("got %v, %d accepted, %q: what is begun is finished", err, in.accepted.Load(), errs.String())
	}
}
