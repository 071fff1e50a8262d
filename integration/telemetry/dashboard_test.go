package telemetry_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// panelsOf returns the queries of a Grafana dashboard, by the title of the
// panel, with its variables as Grafana fills them in when all is chosen.
func panelsOf(t *testing.T, text []byte) map[string][]string {
	t.Helper()
	var d struct {
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$topic", ".*", "$group", ".*")
	queries := map[string][]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries[p.Title] = append(queries[p.Title], fill.Replace(target.Expr))
		}
	}
	for _, v := range d.Templating.List {
		// label_values(metric, label): there is data when the label has values.
		if args, ok := strings.CutPrefix(v.Query, "label_values("); ok {
			metric, label, _ := strings.Cut(strings.TrimSuffix(args, ")"), ", ")
			queries["variable "+v.Name] = []string{"count by (" + label + ") (" + metric + "{" + label + `!=""})`}
		}
	}
	return queries
}
