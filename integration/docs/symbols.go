package docs

import (
	"go/types"
	"regexp"
	"strings"
)

var symbol = regexp.MustCompile("`([a-z]+)\\.([A-Z]\\w*)(?:\\.([A-Z]\\w*))?`")

// UnknownSymbols returns the names in code font on a page, such as
// `dlq.Queue.List`, that no package of leat exports. "bus" stands for any bus.
func UnknownSymbols(l *Library, page string) ([]string, error) {
	var out []string
	for _, m := range symbol.FindAllStringSubmatch(page, -1) {
		known, err := l.knows(m[1], m[2], m[3])
		if err != nil {
			return nil, err
		}
		if !known {
			out = append(out, strings.Trim(m[0], "`"))
		}
	}

	return out, nil
}

// knows reports whether pkg.name, or pkg.name.member, exists. Packages that are
// none of ours are not looked at.
func (l *Library) knows(pkg, name, member string) (bool, error) {
	if pkg == "bus" {
		pkg, name, member = "eventbus", "Bus", name
	}
	path, ok := l.byName[pkg]
	if !ok || !strings.HasPrefix(path, module+"/") {
		return true, nil
	}
	p, err := l.Types(path)
	if err != nil {
		return false, err
	}
	object := p.Scope().Lookup(name)
	if object == nil || member == "" {
		return object != nil, nil
	}
	found, _, _ := types.LookupFieldOrMethod(types.NewPointer(object.Type()), true, p, member)
	if found == nil { // of an interface
		found, _, _ = types.LookupFieldOrMethod(object.Type(), true, p, member)
	}

	return found != nil, nil
}
