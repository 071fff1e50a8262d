// Command benchtable reads the output of `go test -bench` on standard input and
// prints it as a table by package: nanoseconds, bytes and allocations per
// operation, and how each variant of a benchmark compares with its first one in
// the same run, or with its rivals (see package rivals). With -count, it shows the
// median. With -page it writes the table as Markdown, too. Other lines, failures above
// all, pass through; the exit code is 1 when there was one, or no benchmark.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	page := flag.String("page", "", "write the table to this Markdown file, and the comparisons into the README's part of it")
	readme := flag.String("readme", "README.md", "the README")
	flag.Parse()
	os.Exit(run(os.Stdin, os.Stdout, os.Stderr, *page, *readme))
}

// row is one benchmark with all its runs.
type row struct {
	pkg, name string
	units     map[string][]float64
}

// run prints the table and returns the exit code.
func run(in io.Reader, out, progress io.Writer, page, readme string) int {
	var rows []*row
	byName := map[string]*row{}
	pkg, cpu, failed := "", "", false
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		line := lines.Text()
		switch name, units, ok := parse(line); {
		case ok:
			r := byName[pkg+" "+name]
			if r == nil {
				r = &row{pkg: pkg, name: name, units: map[string][]float64{}}
				byName[pkg+" "+name], rows = r, append(rows, r)
				fmt.Fprintf(progress, "%s %s\n", pkg, name)
			}
			for unit, v := range units {
				r.units[unit] = append(r.units[unit], v)
			}
		case strings.HasPrefix(line, "pkg: "):
			pkg = strings.TrimPrefix(strings.TrimPrefix(line, "pkg: "), "github.com/leat-go/leat/")
		case strings.HasPrefix(line, "cpu: "):
			cpu = strings.TrimPrefix(line, "cpu: ")
		case noise(line):
		default:
			failed = failed || strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL") || strings.HasPrefix(line, "panic:")
			fmt.Fprintln(out, line)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(out, "benchtable: read standard input:", err)
		failed = true
	}
	table(out, rows)
	if failed || len(rows) == 0 {
		return 1
	}
	if page != "" {
		if err := write(page, readme, cpu, rows); err != nil {
			fmt.Fprintln(out, "benchtable:", err)
			return 1
		}
	}

	return 0
}

// noise reports lines that tell nothing about speed.
func noise(line string) bool {
	for _, prefix := range []string{"goos:", "goarch:", "cpu:", "PASS", "ok  ", "?  "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}

	return strings.TrimSpace(line) == "" || strings.HasPrefix(line, "Benchmark") && len(strings.Fields(line)) == 1
}

// parse reads one line of results: name, iterations, then value and unit again
// and again.
func parse(line string) (name string, units map[string]float64, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields)%2 != 0 || !strings.HasPrefix(fields[0], "Benchmark") {
		return "", nil, false
	}
	if _, err := strconv.ParseInt(fields[1], 10, 64); err != nil {
		return "", nil, false
	}
	name = strings.TrimPrefix(fields[0], "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i > 0 { // -2 is GOMAXPROCS
		if _, err := strconv.Atoi(name[i+1:]); err == nil {
			name = name[:i]
		}
	}
	units = map[string]float64{}
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return "", nil, false
		}
		units[fields[i+1]] = v
	}

	return name, units, true
}

// table prints the rows by package, in the order in which they came.
func table(out io.Writer, rows []*row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	pkg, group, first := "", "", 0.0
	for _, r := range rows {
		if r.pkg != pkg {
			pkg, group = r.pkg, ""
			_ = w.Flush() // columns by package; what cannot be written cannot be told either
			fmt.Fprintf(out, "\n%s\n", pkg)
			fmt.Fprint(w, "ns/op\tB/op\tallocs/op\tratio\t  \n")
		}
		ns := median(r.units["ns/op"])
		parent, _, variant := cutLast(r.name)
		ratio := ""
		if !variant || parent != group {
			group, first = parent, ns
		}
		if variant && first > 0 {
			ratio = fmt.Sprintf("%.2fx", ns/first)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%s\t  %s%s\n", number(ns), median(r.units["B/op"]), median(r.units["allocs/op"]), ratio, r.name, others(r))
	}
	_ = w.Flush() // see above
}

// cutLast splits a variant's name from its benchmark's.
func cutLast(name string) (parent, variant string, ok bool) {
	i := strings.IndexByte(name, '/')
	if i < 0 {
		return name, "", false
	}

	return name[:i], name[i+1:], true
}

// others tells the units that a benchmark reports by itself.
func others(r *row) string {
	var parts []string
	for unit, v := range r.units {
		if unit != "ns/op" && unit != "B/op" && unit != "allocs/op" {
			parts = append(parts, fmt.Sprintf("%s %s", number(median(v)), unit))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	slices.Sort(parts)

	return "  (" + strings.Join(parts, ", ") + ")"
}

func number(v float64) string {
	if v < 1 {
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}

	return strconv.FormatFloat(v, 'f', 0, 64)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))

	return sorted[len(sorted)/2]
}
