package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/leat-go/leat/internal/leaktest"
)

// TestMain makes the test binary the program when a test, or the program under
// test, starts it as a process.
func TestMain(m *testing.M) {
	const program = "LEAT_TEST_ORDERS"
	if os.Getenv(program) != "" {
		main()
	}
	if err := os.Setenv(program, "1"); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

// screen is a stream that can be looked at while it is written.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// result is what a run left on the screen.
type result struct {
	code     int
	out, err string
}

func runOrders(ctx context.Context, stdin io.Reader, args ...string) result {
	var out, errs screen
	code := run(ctx, args, stdin, &console{out: &out, err: &errs})
	return result{code, out.String(), errs.String()}
}

// wantAll reports the texts that are missing.
func wantAll(t *testing.T, where, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%s has no %q:\n%s", where, w, text)
		}
	}
}

func wantCount(t *testing.T, text, part string, want int) {
	t.Helper()
	if got := strings.Count(text, part); got != want {
		t.Errorf("%q is there %d times, want %d:\n%s", part, got, want, text)
	}
}

// wantStory checks what a newcomer must see, on any bus.
func wantStory(t *testing.T, r result) {
	t.Helper()
	if r.code != 0 || r.err != "" {
		t.Errorf("got code %d and on standard error %q", r.code, r.err)
	}
	wantAll(
		t, "the output", r.out,
		"  message: Recover > Trace > DeadLetter",
		"  ledger on OrderPaid: Retry > Stats >",
		"Idempotency > Tally > handler",
		"     mail       OrderCreated   o-1   confirmation sent to Ann\n",
		"     warehouse  OrderShipped   o-1   parcel handed over\n",
		"     ledger     attempt 1 failed: the bank does not answer; again in 50ms\n",
		"     ledger     attempt 2 failed: the bank does not answer; again in 100ms\n",
		"     ledger     OrderPaid      o-2   booked 12.80\n",
		"  warehouse   ItemAdded   o-3     4          max_retries_exceeded   no article \"moon-dust\" in the catalogue\n",
		"   > replay ItemAdded of o-3 for warehouse\n     warehouse  ItemAdded      o-3   reserved 1 x moon-dust\n",
		"The dead letters now:\n\n   none\n",
		"  events published          10 ",
		"  events consumed           11 ",
		"Check: all 10 accepted events were handled exactly once by every handler that wants them (20 runs).\n",
	)
	// Only the handler that failed was run again, and the letter went to it alone.
	wantCount(t, r.out, "     audit      OrderPaid      o-2   noted\n", 1)
	wantCount(t, r.out, "     audit      ItemAdded      o-3   noted\n", 1)
	table := strings.Join(strings.Fields(r.out[strings.LastIndex(r.out, "HANDLER"):]), " ")
	wantAll(
		t, "the table", table,
		"audit (all) 10 0 0 0 ", "ledger OrderPaid 4 2 2 0 ", "mail OrderCreated 3 0 0 0 ", "mail OrderShipped 1 0 0 0 ",
		"warehouse ItemAdded 7 4 3 1 ", "warehouse OrderShipped 1 0 0 0 ",
	)
}

func TestStory_InMemory(t *testing.T) {
	t.Parallel()
	wantStory(t, runOrders(t.Context(), nil))
}

// wantFile checks the run on the generated file, on any bus.
func wantFile(t *testing.T, r result) {
	t.Helper()
	want := `line 100: not a command: unexpected EOF
line 1000: unknown command "explode": there are create, add_item, pay, ship, cancel
line 2000: pay: order "order-none" does not exist
line 3000: create order "order-0001": it exists already
line 4000: not a command: json: unknown field "qantity"
`
	var told strings.Builder
	for l := range strings.Lines(r.err) {
		if !strings.Contains(l, " lines read, ") { // progress: as long as it takes
			told.WriteString(l)
		}
	}
	if r.code != 0 || told.String() != want {
		t.Errorf("got code %d and on standard error:\n%s\nwant 0 and:\n%s", r.code, r.err, want)
	}
	wantAll(
		t, "the output", r.out,
		"Read 5,278 lines of ", ": 5,273 commands accepted, 5 refused, 5,273 events published.\n",
		"  mail        1,800 letters to customers\n",
		"  ledger      800 payments, 87530.89 in all\n",
		"  warehouse   7,653 pieces reserved, 800 parcels handed over\n",
		"  audit       5,273 events seen\n",
		"Check: all 5,273 accepted events were handled exactly once by every handler that wants them (11,229 runs).\n",
	)
}

func TestInput_TheGeneratedFile(t *testing.T) {
	t.Parallel()
	wantFile(t, runOrders(t.Context(), nil, "-input", "testdata/orders.jsonl"))
	wantFile(t, runOrders(t.Context(), nil, "-input", "testdata/orders.jsonl", "-concurrency", "8"))
}
