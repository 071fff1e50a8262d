package main

import (
	"fmt"
	"io"
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

// report tells how it went, over all processes, when all is over. It returns the
// exit code.
func (p *program) report(drained eventbus.Report, others []string) int {
	w := p.console.out
	sum := final{Stats: p.bus.Stats(), Handlers: p.bus.HandlerStats(), Outcome: p.handlers.outcome(), Drained: drained}
	var crashed, silent []string
	parts := p.tally.parts()
	for _, m := range p.crew {
		if m.final != nil {
			sum.add(*m.final)
		} else {
			silent = append(silent, m.name)
		}
		if parts[m.index].crashed {
			crashed = append(crashed, m.name)
		}
	}
	without := ""
	if len(silent) > 0 {
		without = " (without " + strings.Join(silent, ", ") + ", which could not tell)"
	}
	p.summary(sum.Outcome, without)
	fmt.Fprintf(w, "\nStatistics%s\n\n", without)
	statistics(w, sum.Stats, sum.Handlers)
	if len(p.crew) > 0 {
		fmt.Fprint(w, "\nWho handled how much\n\n")
		shares(w, parts, p.crew, p.consumer)
	}
	fmt.Fprintf(w, "\nShut down in %s: %d finished meanwhile, %d handed back.\n", drained.Duration.Round(100*time.Microsecond), sum.Drained.Finished, sum.Drained.HandedBack)
	foreign := 0
	for _, part := range parts {
		foreign += part.foreign
	}
	if foreign > 0 {
		fmt.Fprintf(w, "Besides, handlers ran %s times on events that were on the topic from other runs.\n", thousands(foreign))
	}
	return p.tally.check(len(others) > 0).tell(w, p.console.err, crashed, others)
}

// made tells what the handlers have made of the events.
func made(w io.Writer, o outcome) {
	all := 0
	for _, n := range o.Noted {
		all += n
	}
	table(
		w,
		fmt.Sprintf("mail\t%s letters to customers", thousands(o.Letters)),
		fmt.Sprintf("ledger\t%s payments, %s in all", thousands(o.Payments), money(o.Cents)),
		fmt.Sprintf("warehouse\t%s pieces reserved, %s parcels handed over", thousands(o.Reserved), thousands(o.Shipped)),
		fmt.Sprintf("audit\t%s events seen", thousands(all)),
	)
}

// shares shows which process has handled how much.
func shares(w io.Writer, parts []part, crew crew, consumer string) {
	rows := []string{fmt.Sprintf("PROCESS\tCONSUMER\t%9s\t%9s\tEND", "EVENTS", "RUNS")}
	for i, p := range parts {
		name, consumer, end := "this one", consumer, "drained"
		if i > 0 {
			name, consumer, end = crew[i-1].name, crew[i-1].consumer, crew[i-1].end
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%9s\t%9s\t%s", name, consumer, thousands(p.events), thousands(p.runs), end))
	}
	table(w, rows...)
}
