package docs_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leat-go/leat/integration/docs"
)

// wanted is how much of what is exported must have a comment.
const wanted = 0.97

func TestExportedThingsAreDocumented(t *testing.T) {
	t.Parallel()
	dependOnSources(t)
	total, missing := 0, 0
	for _, p := range library(t).Ours {
		c, err := docs.Documented(p)
		if err != nil {
			t.Fatal(err)
		}
		total, missing = total+c.Total, missing+len(c.Missing)
		share := 1 - float64(len(c.Missing))/float64(max(c.Total, 1))
		t.Logf("%5.1f %% of %3d  %s  %v", 100*share, c.Total, p.ImportPath, c.Missing)
		if share < wanted {
			t.Errorf("%s: %.1f %% of %d exported things have a comment, want %.0f %%: %v have none", p.ImportPath, 100*share, c.Total, 100*wanted, c.Missing)
		}
	}
	t.Logf("%.1f %% of %d exported things of all packages have a comment", 100-100*float64(missing)/float64(total), total)
}

func TestDocumented(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const source = `package p

// A has fields; S is spoken of here.
type A struct {
	// X and Y are a group.
	X int
	Y int

	Z, z int
	S    int
	W int // behind it
	B
}

type B interface{ Do() }

// F does.
func F() {}

func G() {}

func (a *A) M() {}

func (b *hidden) N() {}

type hidden struct{ Q int }

// Two of them.
const (
	C = 1
	D = 2
)

var (
	V = 1 // behind it
	U = 1
)
`
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := docs.Documented(docs.Package{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"A.Z", "B", "B.Do", "G", "A.M", "U"}; !slices.Equal(got.Missing, want) || got.Total != 15 {
		t.Errorf("%d things, of which %v have no comment; want 15 and %v", got.Total, got.Missing, want)
	}
}
