// Command configref writes docs/configuration.md: every field of every exported
// struct that configures something, with its unit, its default and what its
// comment says. All of it comes from the code.
//
//	go run ./integration/cmd/configref            write docs/configuration.md
//	go run ./integration/cmd/configref FILE       write FILE; "-" is the standard output
//
// A struct configures something when its name ends in Config, or when it has
// exported fields and a method Validate() error.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run . ../../../docs/configuration.md

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "configref:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	file := filepath.Join("docs", "configuration.md")
	if len(args) > 0 {
		file = args[0]
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	packages, err := load(ctx, root)
	if err != nil {
		return err
	}
	page := write(packages)
	if file == "-" {
		_, err = os.Stdout.WriteString(page)

		return err
	}

	return os.WriteFile(file, []byte(page), 0o644) //nolint:gosec // a page for everybody
}
