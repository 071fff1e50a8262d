package offspring_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/leat-go/leat/internal/offspring"
)

const envRole = "LEAT_OFFSPRING_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "parent":
		os.Exit(parent())
	case "child":
		offspring.EndWithParent()
		_, _ = fmt.Fprintln(os.Stdout, "child")
		select {}
	}
	os.Exit(m.Run())
}

// parent starts a child that has its standard output, and waits to be killed.
func parent() int {
	child, err := offspring.Command()
	if err != nil {
		return 1
	}
	child.Env = append(os.Environ(), envRole+"=child")
	child.Stdout = os.Stdout
	if err := child.Start(); err != nil {
		return 1
	}
	select {}
}

// The test is the grandparent: when it kills the parent, which runs no cleanup
// then, the child ends too, and with it the output that it holds open.
func TestOffspring_EndsWithAParentThatIsKilled(t *testing.T) {
	cmd, err := offspring.Command()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), envRole+"=parent")
	out, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close() // the processes have it
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); err != nil || line != "child\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_ = cmd.Process.Kill()
	if _, err := io.Copy(io.Discard, said); err != nil { // ends with the last process that could write
		t.Error(err)
	}
	_ = cmd.Wait()
}
