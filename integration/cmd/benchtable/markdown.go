package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// The README's part of the table is between these two lines.
const (
	begins = "<!-- benchmarks: written by `make bench` -->"
	ends   = "<!-- benchmarks end -->"
)

// write puts the whole table into the file page, and the comparisons with
// rivals into the part of the file readme that is theirs.
func write(page, readme, cpu string, rows []*row) error {
	var whole strings.Builder
	fmt.Fprintf(&whole, "# Benchmarks\n\nWritten by `make bench`: %s\n\n", machine(cpu))
	whole.WriteString("Each comparison runs leat, Watermill's own adapter (stock) and the broker's bare client (raw) in turn, round after round, on one real\n" +
		"broker on the same machine; the ratio is that of the medians, in brackets the least and the greatest of one round. Processor time and\n" +
		"allocations are those of the client's process for an event, by the rival's: below 1 is less.\n")
	pkg := ""
	for _, r := range rows {
		if r.pkg != pkg {
			pkg = r.pkg
			fmt.Fprintf(&whole, "\n## %s\n\n| benchmark | leat | compared | processor time | allocations |\n|---|---|---|---|---|\n", pkg)
		}
		if names := r.rivals(); len(names) > 0 {
			fmt.Fprintf(&whole, "| %s | %s/s | %s | %s | %s |\n", r.name, grouped(median(r.units["leat/s"])), r.compared(names), r.less("cpu-", names), r.less("allocs-", names))
			continue
		}
		fmt.Fprintf(&whole, "| %s | %s |  |  | %.0f |\n", r.name, r.alone(), median(r.units["allocs/op"]))
	}
	if err := os.WriteFile(page, []byte(whole.String()), 0o644); err != nil { //nolint:gosec // a page for everybody
		return err
	}

	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	head, rest, found := bytes.Cut(text, []byte(begins))
	_, tail, ended := bytes.Cut(rest, []byte(ends))
	if !found || !ended {
		return fmt.Errorf("%s has no line %q with %q behind it", readme, begins, ends)
	}
	var part strings.Builder
	fmt.Fprintf(&part, "%s%s\n%s\n\n| | events a second | compared (least to greatest round) |\n|---|---|---|\n", head, begins, machine(cpu))
	for _, r := range rows {
		if names := r.rivals(); len(names) > 0 && !strings.HasSuffix(r.name, "us") {
			_, bus, _ := strings.Cut(r.pkg, "/")
			fmt.Fprintf(&part, "| %s: %s | %s | %s |\n", bus, r.name, grouped(median(r.units["leat/s"])), r.compared(names))
		}
	}
	fmt.Fprintf(&part, "%s%s", ends, tail)
	return os.WriteFile(readme, []byte(part.String()), 0o644) //nolint:gosec // as it was
}

// machine says what the numbers were measured on.
func machine(cpu string) string {
	return fmt.Sprintf("%s, %d processors, brokers on the same machine, %s %s/%s.", cpu, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// rivals returns the names of those that the benchmark compares leat with.
func (r *row) rivals() []string {
	var names []string
	for unit := range r.units {
		if name, ok := strings.CutPrefix(unit, "x-"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Reverse(names) // stock before raw
	return names
}

func (r *row) compared(rivals []string) string {
	var parts []string
	for _, name := range rivals {
		part := fmt.Sprintf("%sx %s", ratio(r.units["x-"+name]), name)
		if low, high := r.units["low-"+name], r.units["high-"+name]; low != nil && high != nil {
			part += fmt.Sprintf(" (%s-%s)", ratio(low), ratio(high))
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func (r *row) less(prefix string, rivals []string) string {
	var parts []string
	for _, name := range rivals {
		if v := r.units[prefix+name]; v != nil {
			parts = append(parts, fmt.Sprintf("%s of %s", ratio(v), name))
		}
	}
	return strings.Join(parts, ", ")
}

// alone tells what a benchmark without rivals measured.
func (r *row) alone() string {
	if ns := median(r.units["ns/op"]); ns > 0 {
		return grouped(ns) + " ns"
	}
	return strings.Trim(others(r), " ()")
}

func ratio(values []float64) string {
	v := median(values)
	if v >= 10 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// grouped writes a number with a comma at each thousand.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
