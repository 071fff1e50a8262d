package certs

import (
	"testing"
	"time"
)

func TestCheck_RefusesASetNearItsEnd(t *testing.T) {
	t.Parallel()
	set, err := Ensure(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(lifetime)
	if err := set.check(end.Add(-margin - time.Hour)); err != nil {
		t.Errorf("an hour before the margin: %v", err)
	}
	if err := set.check(end.Add(-margin + time.Hour)); err == nil {
		t.Error("an hour into the margin: accepted")
	}
}
