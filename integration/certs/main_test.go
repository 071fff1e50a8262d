package certs_test

import (
	"testing"

	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
