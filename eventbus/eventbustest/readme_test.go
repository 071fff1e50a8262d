package eventbustest_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leat-go/leat/eventbus/eventbustest"
)

// The README names, for each law, cases of this suite. Each must exist, and
// check that law; and no law may be without one.
func TestREADME_NamesCasesThatCheckTheirLaw(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	laws := map[string][]int{}
	for _, c := range eventbustest.Cases() {
		laws[c.Name] = c.Laws
	}
	seen := map[int]bool{}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \|[^|]*\|([^|]*)\|$`).FindAllStringSubmatch(string(text), -1)
	for _, row := range rows {
		law, _ := strconv.Atoi(row[1])
		seen[law] = true
		for name := range strings.SplitSeq(strings.TrimSpace(row[2]), ", ") {
			name = strings.Trim(name, "`")
			of, ok := laws[name]
			if !ok {
				t.Errorf("law %d: the suite has no case %q", law, name)
				continue
			}
			if !slices.Contains(of, law) {
				t.Errorf("law %d: the case %s is of the laws %v", law, name, of)
			}
		}
	}
	for law := 1; law <= 12; law++ {
		if !seen[law] {
			t.Errorf("the README has no row for law %d", law)
		}
	}
}
