package bustest_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = bustest.Patience(10 * time.Second)

// failing is a test that may fail: it keeps what it is told is wrong.
type failing struct {
	testing.TB

	mu   sync.Mutex
	said []string
}

func (f *failing) Helper() {}

func (f *failing) Logf(string, ...any) {}

func (f *failing) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *failing) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

// complaints returns what a test says is wrong.
func complaints(t *testing.T, test func(f *failing)) []string {
	t.Helper()
	f := &failing{TB: t}
	var running sync.WaitGroup
	running.Go(func() { test(f) })
	running.Wait()
	return f.said
}
