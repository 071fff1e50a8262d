package docs

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Snippet is one fenced block of Go code.
type Snippet struct {
	File   string // path of the page
	Line   int    // of the first line of code
	Text   string
	Mark   string // "", "build" or "skip"
	Reason string // of the mark
	Output *string

	// Comment says that the snippet is from a doc comment: too small a place to
	// declare all that it speaks of.
	Comment bool
}

// Where names the snippet as file:line.
func (s *Snippet) Where() string { return fmt.Sprintf("%s:%d", s.File, s.Line) }

// Link is a relative link or image, or a link into the same page.
type Link struct {
	Line   int
	Target string
}

// Page is what matters of one Markdown file.
type Page struct {
	File     string
	Snippets []Snippet
	Links    []Link
	Anchors  map[string]bool
	Problems []string
}

var (
	fenceLine = regexp.MustCompile("^ {0,3}(```+|~~~+)(.*)$")
	markLine  = regexp.MustCompile(`^<!--\s*snippet:\s*(.*?)\s*-->$`)
	inline    = regexp.MustCompile(`\]\(\s*<?([^)>\s]+)>?(?:\s+"[^"]*")?\s*\)`)
	reference = regexp.MustCompile(`^ {0,3}\[[^\]]+\]:\s+<?([^>\s]+)>?`)
	htmlLink  = regexp.MustCompile(`(?:href|src)="([^"]+)"`)
	codeSpan  = regexp.MustCompile("`[^`]*`")
	heading   = regexp.MustCompile(`^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$`)
	linkText  = regexp.MustCompile(`\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])`)
	notSlug   = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
	scheme    = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:|^//`)
)

// Read reads one Markdown file.
func Read(file string) (Page, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Page{}, fmt.Errorf("docs: %w", err)
	}

	return parse(file, string(text)), nil
}

// parse finds snippets, links and headings.
func parse(file, text string) Page {
	p := pageParser{page: Page{File: file, Anchors: map[string]bool{}}, last: -1}
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		p.line(i+1, line)
	}
	if p.fence != "" {
		p.problem(p.began, "a fence that is never closed")
	}

	return p.page
}

type pageParser struct {
	page   Page
	fence  string // the closing fence when inside one
	info   string
	began  int
	body   []string
	mark   string
	reason string
	last   int // index of the snippet that an output may follow, -1 = none
}

func (p *pageParser) problem(line int, text string) {
	p.page.Problems = append(p.page.Problems, fmt.Sprintf("%s:%d: %s", p.page.File, line, text))
}

func (p *pageParser) line(n int, line string) {
	if p.fence != "" {
		if t := strings.TrimSpace(line); strings.HasPrefix(t, p.fence) && strings.Trim(t, p.fence[:1]) == "" {
			p.endFence()
		} else {
			p.body = append(p.body, line)
		}

		return
	}
	if m := fenceLine.FindStringSubmatch(line); m != nil {
		p.fence, p.info, p.began, p.body = m[1], strings.TrimSpace(m[2]), n, nil

		return
	}
	trimmed := strings.TrimSpace(line)
	if m := markLine.FindStringSubmatch(trimmed); m != nil {
		p.setMark(n, m[1])

		return
	}
	if trimmed == "" {
		return
	}
	if p.mark != "" {
		p.problem(n, "a snippet mark that no Go fence follows")
	}
	p.mark, p.last = "", -1
	p.text(n, line)
}

func (p *pageParser) setMark(n int, text string) {
	mark, reason, _ := strings.Cut(text, ",")
	p.mark, p.reason = strings.TrimSpace(mark), strings.TrimSpace(reason)
	if p.mark != "build" && p.mark != "skip" || p.reason == "" {
		p.problem(n, `a snippet mark is "build, REASON" or "skip, REASON"`)
		p.mark = "skip"
	}
}

func (p *pageParser) endFence() {
	text := strings.Join(p.body, "\n") + "\n"
	fields := strings.Fields(p.info)
	p.fence = ""
	switch {
	case len(fields) > 0 && (fields[0] == "go" || fields[0] == "golang"):
		p.page.Snippets = append(p.page.Snippets, Snippet{File: p.page.File, Line: p.began + 1, Text: text, Mark: p.mark, Reason: p.reason})
		p.last = len(p.page.Snippets) - 1
	case p.info == "text output":
		if p.last < 0 {
			p.problem(p.began, "an output that no Go snippet precedes")

			break
		}
		p.page.Snippets[p.last].Output = &text
		p.last = -1
	default:
		if p.mark != "" {
			p.problem(p.began, "a snippet mark that no Go fence follows")
		}
		p.last = -1
	}
	p.mark = ""
}

// text looks at a line outside of fences.
func (p *pageParser) text(n int, line string) {
	if m := heading.FindStringSubmatch(line); m != nil {
		p.anchor(m[1])
	}
	plain := codeSpan.ReplaceAllString(line, "")
	for _, expr := range []*regexp.Regexp{inline, reference, htmlLink} {
		for _, m := range expr.FindAllStringSubmatch(plain, -1) {
			if !scheme.MatchString(m[1]) {
				p.page.Links = append(p.page.Links, Link{Line: n, Target: m[1]})
			}
		}
	}
}

// anchor notes the name that GitHub gives to a heading.
func (p *pageParser) anchor(text string) {
	text = linkText.ReplaceAllString(text, "$1")
	slug := strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
	name := slug
	for i := 1; p.page.Anchors[name]; i++ {
		name = fmt.Sprintf("%s-%d", slug, i)
	}
	p.page.Anchors[name] = true
}
