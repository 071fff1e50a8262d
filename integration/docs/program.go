package docs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// runLimit is how long a program of the documentation may run: it shows
// something and ends.
const runLimit = time.Minute

var packageMain = regexp.MustCompile(`(?m)^package main\b`)

// IsProgram reports whether a snippet is a whole program.
func (s *Snippet) IsProgram() bool { return packageMain.MatchString(s.Text) }

// CheckProgram builds a program inside the module at root, as a file that exists
// only for the compiler, and runs it unless its mark says not to. It returns one
// line for each problem.
func CheckProgram(ctx context.Context, root, scratch string, s *Snippet) []string {
	if problem := importsInternal(s.Text); problem != "" {
		return []string{s.Where() + ": " + problem}
	}
	binary, err := build(ctx, root, scratch, s.Text)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", s.Where(), err)}
	}
	if s.Mark == "build" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	cmd.Dir = scratch // what it writes is thrown away
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("still running after %s", runLimit)
		}

		return []string{fmt.Sprintf("%s: run: %v\n%s%s", s.Where(), err, stdout.Bytes(), stderr.Bytes())}
	}
	if s.Output == nil {
		return nil
	}
	if problem := sameOutput(*s.Output, stdout.String()); problem != "" {
		return []string{fmt.Sprintf("%s: the output is another: %s\nit prints:\n%s", s.Where(), problem, stdout.Bytes())}
	}

	return nil
}

// build compiles a program by an overlay, and returns the binary's path.
func build(ctx context.Context, root, scratch, text string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	const folder = "integration/docs/snippet"
	source := filepath.Join(scratch, "main.go.txt")
	overlay, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(root, folder, "main.go"): source},
	})
	if err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	overlayFile, binary := filepath.Join(scratch, "overlay.json"), filepath.Join(scratch, "program")
	if err := errors.Join(os.WriteFile(source, []byte(text), 0o600), os.WriteFile(overlayFile, overlay, 0o600)); err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlayFile, "-o", binary, "./"+folder)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, bytes.ReplaceAll(out, []byte(source), []byte("main.go")))
	}

	return binary, nil
}

// importsInternal finds what a reader's program could not import.
func importsInternal(text string) string {
	f, err := parser.ParseFile(token.NewFileSet(), "main.go", text, parser.ImportsOnly)
	if err != nil {
		return err.Error()
	}
	for _, imp := range f.Imports {
		if path, err := strconv.Unquote(imp.Path.Value); err == nil && strings.Contains("/"+path+"/", "/internal/") {
			return "imports " + path + ", which readers cannot"
		}
	}

	return ""
}

// sameOutput compares what is written down with what was printed; see the
// package documentation for "...".
func sameOutput(want, got string) string {
	w, g := outputLines(want), outputLines(got)
	var match func(i, j int) bool
	deepest := 0
	match = func(i, j int) bool {
		deepest = max(deepest, i)
		switch {
		case i == len(w):
			return j == len(g)
		case strings.TrimSpace(w[i]) == "...":
			return match(i+1, j) || j < len(g) && match(i, j+1)
		default:
			return j < len(g) && sameLine(w[i], g[j]) && match(i+1, j+1)
		}
	}
	if match(0, 0) {
		return ""
	}
	if deepest == len(w) {
		return "there is more than is written down"
	}

	return "line " + strconv.Itoa(deepest+1) + " is written down as " + strconv.Quote(w[deepest])
}

func outputLines(text string) []string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \t\r")
	}

	return lines
}

func sameLine(want, got string) bool {
	parts := strings.Split(want, "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	matched, err := regexp.MatchString("^"+strings.Join(parts, ".*")+"$", got)

	return err == nil && matched
}
