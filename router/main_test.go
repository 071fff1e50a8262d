package router_test

import (
	"testing"

	"github.com/leat-go/leat/internal/leaktest"
)

// The one exception is Watermill's suite: its multiplier keeps forwarding to a
// reader that has left.
func TestMain(m *testing.M) { leaktest.Main(m, "watermill/internal/subscriber.(*multiplier)") }
