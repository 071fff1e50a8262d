package main

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// rows returns the lines of the page by "package.Struct.Field".
func rows(page string) map[string]string {
	out, title := map[string]string{}, ""
	for line := range strings.Lines(page) {
		if t, ok := strings.CutPrefix(line, "### "); ok {
			title = strings.TrimSpace(t)
		}
		if f, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(f, "`")
			out[title+"."+name] = strings.TrimSpace(line)
		}
	}

	return out
}

// What the page says of fields that are written down in all the ways there are;
// and each field of each struct is explained.
func TestPage(t *testing.T) {
	packages, err := load(context.Background(), "../../..")
	if err != nil {
		t.Fatal(err)
	}
	page := write(packages)
	got := rows(page)
	for field, want := range map[string]string{
		"eventbus.Config.Publisher":                "|  | **required** |", // named by the comment of the struct
		"eventbus.Config.Topic":                    "|  | **required** |", // says so itself
		"eventbus.Config.DrainTimeout":             "| time | `30s` |",
		"eventbus.Config.Group":                    "|  | `default` |",
		"eventbus.Config.TracerProvider":           "| nil | see `DisableTracing` |", // of a group
		"membus.Config.MaxDeadLetters":             "| number | `10,000` |",          // the constant of another package
		"redisbus.Config.PendingIdleTime":          "| time | `1m` | as [redisbus.SubscriberConfig](#redisbussubscriberconfig) |",
		"redisbus.Config.OnBuried":                 "| nil | as [eventbus.Config](#eventbusconfig), also of events over MaxDeliveries |",
		"redisbus.Config.MaxBackground":            "| number | `1,000` | as [eventbus.Config](#eventbusconfig) |",
		"rabbitbus.SubscriberConfig.PrefetchCount": "| number | `10`, or four times Concurrency when that is more |",
		"kafkabus.Config.Acks":                     "| `AcksAll` |", // an enumeration
		"kafkabus.ClientConfig.Linger":             "| time | `5ms` |",
		"kafkabus.SubscriberConfig.SessionTimeout": "| time | `30s` |", // "their defaults"
		"kafkabus.Config.MaxInFlightBytes":         "| bytes | `16,777,216` |",
		"kafkabus.ClientConfig.CertFile":           "| empty |", // the sentence before it is of another
		"middleware.Retry.MaxDelay":                "| time | `1m`, or BaseDelay if that is longer |",
		"middleware.Retry.Jitter":                  "| fraction | `0.1` |",
		"middleware.Idempotency.Store":             "| **required** |",
		"dlq.Config.Logger":                        "| silence |",
		"aggregate.Config.Store":                   "| **required** |",
		"codec.JSON.MaxBytes":                      "| bytes | `1,048,576` |",
		"router.DrainConfig.Key":                   "| the metadata aggregate_id; so does a panic in it, which is logged |",
	} {
		if line, ok := got[field]; !ok || !strings.Contains(line, want) {
			t.Errorf("%s: %q does not say %q", field, line, want)
		}
	}
	fields := 0
	for _, p := range packages {
		for _, s := range p.structs {
			for _, f := range s.fields {
				if fields++; f.doc == "" {
					t.Errorf("%s.%s has no comment", s.title(), f.name)
				}
			}
		}
	}
	if fields < 200 {
		t.Errorf("only %d fields were found", fields)
	}
}

func TestStructures(t *testing.T) {
	const source = `package p

// Config needs A and B: A and B are required.
type Config struct {
	// A and B are two.
	A, B int
	C int // alone

	D int
	e int
}

// Strict has a Validate.
type Strict struct{ X int }

// Validate checks.
func (s *Strict) Validate() error { return nil }

type Other struct{ X int }
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, s := range structures(&pkg{name: "p"}, fset, []*ast.File{f}) {
		for _, x := range s.fields {
			text.WriteString(s.name + "." + x.name + "=" + x.doc + "/" + x.follow + " ")
			if s.required[x.name] {
				text.WriteString("required ")
			}
		}
	}
	const want = "Config.A=A and B are two./ required Config.B=A and B are two./A required Config.C=A and B are two. alone/A Config.D=/ Strict.X=/ "
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}

func TestValueText_Durations(t *testing.T) {
	for in, want := range map[string]string{"1m0s": "1m", "1h0m0s": "1h", "30s": "30s", "1m30s": "1m30s", "10m0s": "10m", "1h10m0s": "1h10m"} {
		if got := durationZeros.ReplaceAllString(in, "$1"); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
	if got := thousands(-1234567); got != "-1,234,567" {
		t.Error(got)
	}
}
