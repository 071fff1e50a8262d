package brokers_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// redisDo sends one command and returns the reply as it came, without the
// last line end.
func redisDo(t *testing.T, addr string, words ...string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}

	fmt.Fprintf(conn, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(word), word)
	}
	reply := make([]byte, 4096)
	n, err := conn.Read(reply)
	if err != nil {
		t.Fatal(err)
	}

	return strings.TrimSuffix(string(reply[:n]), "\r\n")
}
