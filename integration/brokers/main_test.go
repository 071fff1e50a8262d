package brokers_test

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
)

// helperEnv makes the test binary behave as another program: see helpers.
const helperEnv = "LEAT_BROKERS_TEST_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		os.Exit(helpers[name]())
	}
	// One goroutine a process waits for its end, also in Up, whose brokers
	// outlive the test binary.
	leaktest.Main(m)
}

// helpers are the programs that tests start, and kill.
var helpers = map[string]func() int{
	"run": func() int { // brokers run -only=redis -- sleep
		ctx, stop := signal.NotifyContext(contextBackground(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		opts := brokers.Options{Folder: os.Getenv("FOLDER"), Kinds: []brokers.Kind{brokers.KindRedis}}
		code, err := brokers.RunCommand(ctx, opts, strings.Fields(os.Getenv("COMMAND")), os.Stdout, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}

		return code
	},
	"install": func() int { // brokers install -only=redis
		err := brokers.Install(contextBackground(), brokers.Options{Folder: os.Getenv("FOLDER"), Kinds: []brokers.Kind{brokers.KindRedis}})
		if err == nil {
			return 0
		}
		fmt.Fprintln(os.Stderr, err)

		return 1
	},
}
