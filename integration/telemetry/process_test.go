package telemetry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// binary builds examples/service.
func binary(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "service")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../../examples/service").CombinedOutput(); err != nil {
		t.Fatalf("build examples/service: %v\n%s", err, out)
	}
	return file
}

// process is a running service.
type process struct {
	system string // as metrics call it
	addr   string
	cmd    *exec.Cmd

	mu  sync.Mutex
	log []string
}

// startService runs the service until the test ends or it is told to stop.
func startService(t *testing.T, binary, bus string, environ ...string) *process {
	t.Helper()
	p := &process{system: bus, cmd: exec.CommandContext(context.Background(), binary)}
	p.cmd.Env = append(os.Environ(), append(environ, "SERVICE_ADDR=127.0.0.1:0", "SERVICE_BUS="+bus)...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		p.read(out, ready)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-read
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", bus, strings.Join(p.log, "\n"))
		}
	})
	select {
	case p.addr = <-ready:
	case <-read:
		t.Fatalf("%s: it is not ready, and has ended", bus)
	}
	return p
}

func (p *process) read(out io.Reader, ready chan<- string) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct{ Level, Msg, Addr string }
		_ = json.Unmarshal(lines.Bytes(), &line) // what is no JSON is no such line
		if line.Msg == "ready" {
			ready <- line.Addr
		}
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		p.mu.Unlock()
	}
}

// order sends one, and returns what was answered; 0: nothing.
func (p *process) order(t *testing.T, customer string) int {
	t.Helper()
	body := strings.NewReader(`{"customer":"` + customer + `","total_cents":1250}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr+"/orders", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // no connection is left behind
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// orders are accepted, all of them.
func (p *process) orders(t *testing.T, n int) {
	t.Helper()
	for range n {
		if status := p.order(t, "Ada"); status != http.StatusAccepted {
			t.Fatalf("%s: an order is answered with %d, want 202", p.system, status)
		}
	}
}
