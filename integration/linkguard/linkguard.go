package linkguard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// Package is what the go command tells about one package.
type Package struct {
	ImportPath string
	Standard   bool
	Module     *struct{ Path string }
	Deps       []string
	Error      *struct{ Err string }
}

// List returns the packages of the module in dir, below it and above: all that
// they link, tests left out, by import path.
func List(ctx context.Context, dir string) (map[string]Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Module,Deps,Error", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("linkguard: go list in %s: %w: %s", dir, err, stderr.Bytes())
	}
	pkgs := map[string]Package{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, fmt.Errorf("linkguard: read what go list says: %w", err)
		}
		pkgs[p.ImportPath] = p
	}
}

// Report is what one package links.
type Report struct {
	Path       string   // below the module
	ThirdParty []string // import paths of other modules' packages
	Problems   []string // one line each; none means that the rule holds
}

// Check compares the packages of module with the rules. Every package that
// users can import is reported, in the order of its path.
func Check(module string, pkgs map[string]Package, rules map[string]Rule) []Report {
	var reports []Report
	for path, p := range pkgs {
		short, ours := strings.CutPrefix(path, module+"/")
		if !ours || !importable(short) {
			continue
		}
		r := Report{Path: short}
		rule, known := rules[short]
		if !known {
			r.add("no rule: add a line for it to integration/linkguard/rules.go")
			rule.Ceiling = len(pkgs)
		}
		if p.Error != nil {
			r.add("cannot be listed: %s", p.Error.Err)
		}
		for _, dep := range p.Deps {
			r.dependency(pkgs[dep], dep, module, rule)
		}
		slices.Sort(r.ThirdParty)
		if n := len(r.ThirdParty); n > rule.Ceiling {
			r.add("links %d third-party packages, the ceiling is %d:\n    %s", n, rule.Ceiling, strings.Join(r.ThirdParty, "\n    "))
		}
		reports = append(reports, r)
	}
	slices.SortFunc(reports, func(a, b Report) int { return strings.Compare(a.Path, b.Path) })

	return reports
}

// dependency judges one package that the reported one links.
func (r *Report) dependency(dep Package, path, module string, rule Rule) {
	if dep.Standard || dep.Module == nil {
		if path == "testing" && !rule.Testing {
			r.add("links package testing, which belongs in tests and in eventbustest")
		}

		return
	}
	if dep.Module.Path == module {
		return
	}
	r.ThirdParty = append(r.ThirdParty, path)
	for _, prefix := range never() {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			r.add("links %s, which belongs in tests", path)
		}
	}
	for _, prefix := range guarded() {
		if strings.HasPrefix(dep.Module.Path, prefix) && !slices.Contains(rule.May, prefix) {
			r.add("links %s, which its users did not ask for", path)
		}
	}
}

func (r *Report) add(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// importable reports whether other modules can and should import a package.
func importable(short string) bool {
	for _, ours := range []string{"integration", "examples", "internal"} {
		if short == ours || strings.HasPrefix(short, ours+"/") {
			return false
		}
	}

	return !strings.Contains("/"+short+"/", "/internal/")
}
