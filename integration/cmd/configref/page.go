package main

import (
	"fmt"
	"regexp"
	"strings"
)

const head = `# Configuration

Every field of everything that can be configured: its unit, what it is when it is not set, and what its comment says. Written from the code by
` + "`go generate ./integration/cmd/configref`" + `; do not edit it. A field that another struct explains links there. Times are Go's
` + "`time.Duration`" + `: ` + "`30*time.Second`" + `, not ` + "`30`" + `. ` + "`Validate`" + ` of each struct tells all mistakes at once, and whatever takes the struct calls it.

`

var asIn = regexp.MustCompile(`\bas in \[?(?:(\w+)\.)?(\w*Config)\b`)

// write makes the page.
func write(packages []*pkg) string {
	var b strings.Builder
	b.WriteString(head)
	for _, p := range packages {
		for i, s := range p.structs {
			sep := " · "
			if i == 0 {
				sep = "- "
			}
			fmt.Fprintf(&b, "%s[%s](#%s)", sep, s.title(), s.anchor())
		}
		b.WriteString("\n")
	}
	for _, p := range packages {
		fmt.Fprintf(&b, "\n## Package %s\n", p.short)
		for _, s := range p.structs {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", s.title(), prose(s.doc))
			b.WriteString("| field | type | unit | default | meaning |\n|---|---|---|---|---|\n")
			for _, f := range s.fields {
				b.WriteString(row(packages, s, f))
			}
		}
	}

	return b.String()
}

func (s *structure) title() string  { return s.pkg.name + "." + s.name }
func (s *structure) anchor() string { return strings.ToLower(s.pkg.name + s.name) }

// row is one field. What another struct explains is taken from there.
func row(packages []*pkg, s *structure, f *field) string {
	from, at := origin(packages, s, f)
	meaning := prose(f.doc)
	switch {
	case from != s:
		meaning = fmt.Sprintf("as [%s](#%s)", from.title(), from.anchor())
		if f.note != "" {
			meaning += ", " + prose(f.note)
		}
	case f.follow != "":
		meaning = "see `" + f.follow + "`"
	}
	def := defaultOf(packages, from, at)
	if s.required[f.name] {
		def = "**required**"
	}

	return fmt.Sprintf("| `%s` | `%s` | %s | %s | %s |\n", f.name, cell(typeText(f.typ)), unit(f), cell(def), cell(meaning))
}

// origin follows "as in X" to the field that has the explanation.
func origin(packages []*pkg, s *structure, f *field) (*structure, *field) {
	for _, m := range asIn.FindAllStringSubmatch(f.doc, -1) {
		for _, p := range packages {
			if m[1] == "" && p != s.pkg || m[1] != "" && p.name != m[1] {
				continue
			}
			for _, other := range p.structs {
				if at := other.field(f.name); other.name == m[2] && at != nil && other != s {
					return origin(packages, other, at)
				}
			}
		}
	}

	return s, f
}

var docLink = regexp.MustCompile(`\[\*?([A-Za-z][\w.]*)\]`)

// prose makes Markdown of a comment: its links to symbols become code.
func prose(text string) string {
	return strings.NewReplacer("<", "&lt;", ">", "&gt;", "*", `\*`).Replace(docLink.ReplaceAllString(text, "`$1`"))
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
