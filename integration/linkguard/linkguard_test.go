package linkguard_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/integration/linkguard"
)

func TestLinkguard(t *testing.T) {
	t.Parallel()
	dependOnSources(t, "../..")
	pkgs, err := linkguard.List(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	reports := linkguard.Check(linkguard.Module, pkgs, linkguard.Rules())
	if len(reports) == 0 {
		t.Fatal("no package was found")
	}
	for _, r := range reports {
		t.Logf("%3d third-party packages (ceiling %d): %s", len(r.ThirdParty), linkguard.Rules()[r.Path].Ceiling, r.Path)
		for _, problem := range r.Problems {
			t.Errorf("%s %s", r.Path, problem)
		}
	}
}

// dependOnSources looks at each source file, so that go test does not answer
// from its cache after one changed: what a child process reads it does not see.
func dependOnSources(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() != ".." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if name := d.Name(); strings.HasSuffix(name, ".go") || name == "go.mod" {
			_, _ = os.Stat(path) // the look is what counts
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The guard is worth nothing if it does not bite.
func TestCheck_FindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	const m = "example.test/m"
	third := func(path, module string) linkguard.Package {
		return linkguard.Package{ImportPath: path, Module: &struct{ Path string }{module}}
	}
	pkgs := map[string]linkguard.Package{
		"fmt":     {ImportPath: "fmt", Standard: true},
		"testing": {ImportPath: "testing", Standard: true},
	}
	for _, p := range []linkguard.Package{
		third("github.com/redis/go-redis/v9", "github.com/redis/go-redis/v9"),
		third("github.com/IBM/sarama", "github.com/IBM/sarama"),
		third("go.opentelemetry.io/otel/sdk/trace", "go.opentelemetry.io/otel/sdk"),
		third("github.com/google/uuid", "github.com/google/uuid"),
		third(m+"/internal/x", m),
	} {
		pkgs[p.ImportPath] = p
	}
	add := func(short string, deps ...string) {
		p := third(m+"/"+short, m)
		p.Deps = deps
		pkgs[p.ImportPath] = p
	}
	add("core", "fmt", "github.com/google/uuid", m+"/internal/x")
	add("leaky", "github.com/redis/go-redis/v9", "testing")
	add("redisbus", "github.com/redis/go-redis/v9", "github.com/google/uuid")
	add("kafkabus", "github.com/IBM/sarama")
	add("tracing", "go.opentelemetry.io/otel/sdk/trace")
	add("unruled", "github.com/google/uuid")
	add("integration/tool", "github.com/IBM/sarama", "testing")
	rules := map[string]linkguard.Rule{
		"core":     {Ceiling: 1},
		"leaky":    {Ceiling: 9},
		"redisbus": {Ceiling: 1, May: []string{"github.com/redis/go-redis"}},
		"kafkabus": {Ceiling: 9},
		"tracing":  {Ceiling: 9, May: []string{"go.opentelemetry.io/otel"}},
	}
	want := map[string][]string{
		"core":     nil,
		"leaky":    {"links github.com/redis/go-redis/v9, which its users did not ask for", "links package testing"},
		"redisbus": {"links 2 third-party packages, the ceiling is 1"},
		"kafkabus": {"links github.com/IBM/sarama"},
		"tracing":  {"links go.opentelemetry.io/otel/sdk/trace, which belongs in tests"},
		"unruled":  {"no rule"},
	}

	reports := linkguard.Check(m, pkgs, rules)

	if len(reports) != len(want) {
		t.Errorf("%d reports, want %d: %+v", len(reports), len(want), reports)
	}
	for _, r := range reports {
		for _, text := range want[r.Path] {
			if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.HasPrefix(p, text) }) {
				t.Errorf("%s: %q does not say %q", r.Path, r.Problems, text)
			}
		}
		if len(r.Problems) != len(want[r.Path]) {
			t.Errorf("%s: %d problems, want %d: %q", r.Path, len(r.Problems), len(want[r.Path]), r.Problems)
		}
	}
}
