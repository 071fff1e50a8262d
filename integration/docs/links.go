package docs

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Pages reads all Markdown files below root, folders with a dot, testdata and
// bin left out.
func Pages(root string) ([]Page, error) {
	var pages []Page
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "node_modules") {
				return filepath.SkipDir
			}

			return nil
		}
		if strings.HasSuffix(name, ".md") {
			page, err := Read(path)
			if err != nil {
				return err
			}
			pages = append(pages, page)
		}

		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("docs: %w", err)
	}

	return pages, nil
}

// CheckLinks returns one line for every relative link whose target does not
// exist: a file or folder below root, or a heading of a page.
func CheckLinks(root string, pages []Page) []string {
	byFile := map[string]Page{}
	for _, p := range pages {
		byFile[filepath.Clean(p.File)] = p
	}
	var problems []string
	for _, p := range pages {
		for _, l := range p.Links {
			if text := checkLink(root, p, l.Target, byFile); text != "" {
				problems = append(problems, fmt.Sprintf("%s:%d: link to %q: %s", p.File, l.Line, l.Target, text))
			}
		}
	}

	return problems
}

func checkLink(root string, from Page, target string, byFile map[string]Page) string {
	path, anchor, hasAnchor := strings.Cut(target, "#")
	path, err := url.PathUnescape(path)
	if err != nil {
		return err.Error()
	}
	file := filepath.Clean(from.File)
	if path != "" {
		file = filepath.Join(filepath.Dir(from.File), path)
		if strings.HasPrefix(path, "/") {
			file = filepath.Join(root, path)
		}
	}
	if rel, err := filepath.Rel(root, file); err != nil || strings.HasPrefix(rel, "..") {
		return "leads out of the repository"
	}
	if _, err := os.Stat(file); err != nil {
		return "does not exist"
	}
	page, isPage := byFile[file]
	if hasAnchor && isPage && !page.Anchors[strings.ToLower(anchor)] {
		return "has no such heading"
	}

	return ""
}
