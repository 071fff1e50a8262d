// Package leftout says in one line which tests a run leaves out for want of a
// broker, and how to run them: a skip that nobody sees is a test that nobody has.
package leftout

import (
	"fmt"
	"io"
	"strings"

	"github.com/leat-go/leat/integration/brokers"
)

// Line is the line to say, empty when nothing is left out. It asks getenv for
// the addresses of the brokers.
func Line(getenv func(string) string) string {
	var kinds, names []string
	for _, b := range []struct {
		kind brokers.Kind
		name string
	}{
		{brokers.KindRedis, brokers.EnvRedisURL},
		{brokers.KindRabbit, brokers.EnvRabbitURL},
		{brokers.KindKafka, brokers.EnvKafkaBrokers},
	} {
		if getenv(b.name) == "" {
			kinds, names = append(kinds, string(b.kind)), append(names, b.name)
		}
	}
	if len(kinds) == 0 {
		return ""
	}
	hint := "make test"
	if only := strings.Join(kinds, ","); only != string(brokers.KindRedis) {
		hint = "make test ONLY=" + only
	}

	return fmt.Sprintf("leat: left out: tests that need %s (%s not set); to run them: %s\n",
		strings.Join(kinds, ", "), strings.Join(names, ", "), hint)
}

// GoCommand opens the standard error of the process that started this one: the
// go command, which shows nothing that a passing test writes itself. It returns
// an error where there is no safe way to it; the caller closes what it gets.
func GoCommand() (io.WriteCloser, error) { return parentStderr() }
