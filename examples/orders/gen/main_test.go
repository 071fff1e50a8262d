package main

import (
	"bytes"
	"os"
	"testing"
)

func TestGenerated_IsCurrent(t *testing.T) {
	t.Parallel()
	const path = "../testdata/orders.jsonl"
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	generate(&got)
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what gen makes: run `go generate ./examples/orders`", path)
	}
}
