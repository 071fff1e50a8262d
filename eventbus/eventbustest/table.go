package eventbustest

import (
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
)

// table is what the suite ends with.
type table struct {
	name string

	mu   sync.Mutex
	rows map[string]row
}

type row struct{ result, reason string }

func newTable(h Harness) *table { return &table{name: h.Name, rows: map[string]row{}} }

func (t *table) set(c Case, result, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[c.Name] = row{result, reason}
}

// String lists the cases in order. Those that a -run flag left out are not
// mentioned.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out strings.Builder
	counts := map[string]int{}
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "conformance of %s\n\ncase\tlaws\tresult\t\n", t.name) // a Builder takes everything
	for _, c := range Cases() {
		r, ok := t.rows[c.Name]
		if !ok {
			continue
		}
		counts[r.result]++
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Name, strings.TrimPrefix(laws(c.Laws), "law "), r.result, r.reason)
	}
	_ = w.Flush()
	return fmt.Sprintf("%s\n%d passed, %d failed, %d skipped", out.String(), counts["pass"], counts["FAIL"], counts["skip"])
}
