package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

// table writes aligned columns; cells are separated by tabs.
func table(w io.Writer, rows ...string) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, "  "+row)
	}
	_ = tw.Flush() // as Fprintln: nothing can be done about a closed terminal
}

// letterTable shows dead letters.
func letterTable(w io.Writer, letters []dlq.Letter) {
	rows := []string{"HANDLER\tEVENT\tORDER\tATTEMPTS\tREASON\tERROR"}
	for _, l := range letters {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%s\t%s", strings.Join(l.Handlers, ", "), l.EventType(), l.Key, l.Attempts, l.Reason, l.ErrorMessage))
	}
	table(w, rows...)
}

// statistics shows what the bus and its handlers have counted.
func statistics(w io.Writer, s eventbus.Stats, handlers []eventbus.HandlerStats) {
	row := func(what string, n int64, why string) string {
		return fmt.Sprintf("%s\t%9s\t%s", what, thousands(n), why)
	}
	table(w,
		row("events published", s.EventsPublished, "confirmed by the bus"),
		row("events consumed", s.EventsConsumed, "replays of dead letters included"),
		row("  succeeded", s.EventsProcessedSuccess, "every handler that was run is content"),
		row("  failed", s.EventsProcessedFailed, "a handler gave up"),
		row("  skipped", s.EventsSkipped, "nobody wants them"),
		row("handler runs", s.HandlersInvoked, "one for each attempt"),
		row("  failed", s.HandlerErrors, "an error or a panic"),
		row("  retries", s.Retries, "runs after the first, of the handler that failed alone"),
		row("dead letters", s.MessagesSentToDLQ, "stored, with the handlers that gave up"),
	)
	fmt.Fprintln(w)
	rows := []string{fmt.Sprintf("HANDLER\tEVENT\t%9s\t%9s\t%9s\t%s", "RUNS", "FAILED", "RETRIES", "DEAD LETTERS")}
	for _, h := range handlers {
		event := h.EventType
		if event == "" {
			event = "(all)"
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%9s\t%9s\t%9s\t%12s", h.Handler, event,
			thousands(h.Invoked), thousands(h.Errors), thousands(h.Retries), thousands(h.DeadLetters)))
	}
	table(w, rows...)
}

// outcome tells what the handlers have made of the events.
func outcome(w io.Writer, h *handlers) {
	h.audit.mu.Lock()
	defer h.audit.mu.Unlock()
	all := 0
	for _, n := range h.audit.events {
		all += n
	}
	table(w,
		fmt.Sprintf("mail\t%s letters to customers", thousands(h.mail.sent)),
		fmt.Sprintf("ledger\t%s payments, %s in all", thousands(h.ledger.payments), money(h.ledger.cents)),
		fmt.Sprintf("warehouse\t%s pieces reserved, %s parcels handed over", thousands(h.warehouse.reserved), thousands(h.warehouse.shipped)),
		fmt.Sprintf("audit\t%s events seen", thousands(all)),
	)
}

// verdict closes the run: whether every accepted event was handled exactly
// once by every handler that wants it. It returns the exit code.
func verdict(out, errw io.Writer, t *tally, drained eventbus.Report) int {
	events, runs := t.counts()
	fmt.Fprintf(out, "\nShut down in %s: %d finished meanwhile, %d handed back.\n", drained.Duration.Round(100*time.Microsecond), drained.Finished, drained.HandedBack)
	if t.foreign > 0 {
		fmt.Fprintf(out, "Besides, handlers ran %s times on events that were on the topic from other runs.\n", thousands(t.foreign))
	}
	problems := t.problems()
	if len(problems) == 0 {
		fmt.Fprintf(out, "Check: all %s accepted events were handled exactly once by every handler that wants them (%s runs).\n", thousands(events), thousands(runs))
		return 0
	}
	slices.Sort(problems)
	fmt.Fprintf(errw, "Check FAILED: of %s accepted events, these were not handled exactly once by every handler that wants them:\n", thousands(events))
	const shown = 10
	for i, p := range problems {
		if i == shown {
			fmt.Fprintf(errw, "  and %s more\n", thousands(len(problems)-shown))
			break
		}
		fmt.Fprintln(errw, "  "+p)
	}
	fmt.Fprintln(errw, "Events that were handled 0 times may be with another consumer of the group, or still wait on the topic.")
	return 1
}
