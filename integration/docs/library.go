package docs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
)

const module = "github.com/leat-go/leat"

// outside lists what snippets may use without an import, beside our own
// packages. Where two have one name the first wins, and ours before all.
func outside() []string {
	return []string{
		"context", "encoding/json", "errors", "fmt", "io", "log", "log/slog", "math/rand/v2", "net/http", "os", "os/signal",
		"reflect", "slices", "strconv", "strings", "sync", "sync/atomic", "syscall", "testing", "testing/synctest", "time", "crypto/tls",
		"github.com/ThreeDotsLabs/watermill", "github.com/ThreeDotsLabs/watermill/message",
		"github.com/ThreeDotsLabs/watermill/pubsub/gochannel", "github.com/google/uuid",
		"github.com/redis/go-redis/v9", "github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream",
		"go.opentelemetry.io/otel", "go.opentelemetry.io/otel/trace", "go.opentelemetry.io/otel/propagation",
	}
}

// Package is one package that snippets can use.
type Package struct {
	ImportPath string
	Name       string
	Dir        string
	Export     string
	Error      *struct{ Err string }
}

// Library holds the compiled packages that snippets are checked against.
type Library struct {
	byPath map[string]Package
	byName map[string]string // package name -> import path
	Ours   []Package         // that a user can import, in the order of go list
}

// Load compiles the packages of the module at root and what they import.
func Load(ctx context.Context, root string) (*Library, error) {
	args := append([]string{"list", "-e", "-export", "-deps", "-json=ImportPath,Name,Dir,Export,Error", "./..."}, outside()...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("docs: go list: %w: %s", err, stderr.Bytes())
	}
	l := &Library{byPath: map[string]Package{}, byName: map[string]string{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("docs: read what go list says: %w", err)
		}
		l.byPath[p.ImportPath] = p
		short, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if ours && p.Name != "main" && !strings.Contains("/"+short+"/", "/internal/") &&
			!strings.HasPrefix(short, "integration/") && !strings.HasPrefix(short, "examples/") {
			l.byName[p.Name] = p.ImportPath
			l.Ours = append(l.Ours, p)
		}
	}
	for _, path := range outside() {
		if p, ok := l.byPath[path]; ok && p.Error == nil && l.byName[p.Name] == "" {
			l.byName[p.Name] = path
		}
	}

	return l, nil
}

// Types returns what a package exports, with the values of its constants.
func (l *Library) Types(path string) (*types.Package, error) {
	p, err := l.importer(token.NewFileSet()).Import(path)
	if err != nil {
		return nil, fmt.Errorf("docs: %w", err)
	}

	return p, nil
}

// importer reads the packages' export data.
func (l *Library) importer(fset *token.FileSet) types.Importer {
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		p := l.byPath[path]
		if p.Export == "" {
			return nil, fmt.Errorf("docs: package %s is not there or does not compile", path)
		}

		return os.Open(p.Export)
	})
}
