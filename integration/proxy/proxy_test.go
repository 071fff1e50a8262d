package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/leat-go/leat/integration/proxy"
)

// echo starts a server that sends back what it gets, and tells how each of
// its connections ended.
func echo(t *testing.T) (addr string, ends <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })

	ended := make(chan error, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, err := io.Copy(conn, conn)
				conn.Close()
				ended <- err
			}()
		}
	}()

	return listener.Addr().String(), ended
}

func start(t *testing.T, target string) *proxy.Proxy {
	t.Helper()
	p, err := proxy.Start(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})

	return p
}

func dial(t *testing.T, p *proxy.Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}

	return conn
}

// ask sends text and wants it back.
func ask(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	send(t, conn, text)
	expect(t, conn, text)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got, err, text)
	}
}

// silent wants nothing to come for a moment.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
}

// broken wants the connection to be closed from the other side.
func broken(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want a closed connection", n, err)
	}
}

func TestProxy_ForwardsALotBothWays(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := start(t, addr)
	p.Delay(time.Millisecond)
	conn := dial(t, p)

	data := bytes.Repeat([]byte("0123456789abcdef"), 256<<10) // 4 MB
	go func() {
		_, _ = conn.Write(data)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v; want the %d sent", len(got), err, len(data))
	}
}

func TestCut_EndsOpenConnectionsOnly(t *testing.T) {
	t.Parallel()
	addr, ends := echo(t)
	p := start(t, addr)
	conn := dial(t, p)
	ask(t, conn, "hello")

	p.Cut()

	broken(t, conn)
	<-ends
	ask(t, dial(t, p), "again")
	if got := p.Accepted(); got != 2 {
		t.Errorf("accepted %d connections, want 2", got)
	}
}

func TestRefuse_UntilAccept(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := start(t, addr)
	conn := dial(t, p)
	ask(t, conn, "hello")

	if err := p.Refuse(); err != nil {
		t.Fatal(err)
	}
	broken(t, conn)
	if conn, err := net.Dial("tcp", p.Addr()); err == nil {
		conn.Close()
		t.Error("a connection was accepted while refusing")
	}

	if err := p.Accept(); err != nil {
		t.Fatal(err)
	}
	ask(t, dial(t, p), "again")
}

func TestStall_HoldsBytesBackAndLosesNone(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	for name, d := range map[string]proxy.Direction{"requests": proxy.ToServer, "answers": proxy.ToClient, "both": proxy.Both} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, addr)
			conn := dial(t, p)
			ask(t, conn, "before")

			p.Stall(d)
			send(t, conn, "one")
			silent(t, conn)
			send(t, conn, "two")

			p.Flow(d)
			expect(t, conn, "onetwo")
		})
	}
}

func TestDrop_LosesBytesSilently(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := start(t, addr)
	conn := dial(t, p)

	p.Drop(proxy.ToClient)
	send(t, conn, "lost")
	silent(t, conn)
	p.Flow(proxy.ToClient)
	ask(t, conn, "kept")
}

func TestHalfOpen_ClientHearsNothingServerKnows(t *testing.T) {
	t.Parallel()
	addr, ends := echo(t)
	p := start(t, addr)
	conn := dial(t, p)
	ask(t, conn, "hello")

	p.HalfOpen()

	if err := <-ends; err == nil {
		t.Error("the server saw an orderly end, want a reset")
	}
	for range 3 {
		send(t, conn, "into the void")
		silent(t, conn)
	}
	ask(t, dial(t, p), "new connections work")
	if got := p.Connections(); got != 2 {
		t.Errorf("%d connections open, want 2", got)
	}
}

func TestCutAfter_PassesExactlySoMany(t *testing.T) {
	t.Parallel()
	addr, ends := echo(t)
	p := start(t, addr)
	conn := dial(t, p)
	ask(t, conn, "before")

	p.CutAfter(proxy.ToClient, 3)
	send(t, conn, "answer")
	got, _ := io.ReadAll(conn)
	if string(got) != "ans" {
		t.Errorf("got %q before the cut, want %q", got, "ans")
	}
	<-ends
	ask(t, dial(t, p), "once only")
}

func TestCutAfter_RequestArrivesAnswerDoesNot(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		got := make([]byte, 7)
		_, _ = io.ReadFull(conn, got)
		seen <- string(got)
		_, _ = conn.Write([]byte("answer"))
		_, _ = conn.Read(got)
	}()

	p := start(t, listener.Addr().String())
	conn := dial(t, p)
	p.CutAfter(proxy.ToClient, 0)
	send(t, conn, "request")
	if got := <-seen; got != "request" {
		t.Errorf("the server got %q", got)
	}
	broken(t, conn)
}

func TestDelay_AddsARoundTrip(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := start(t, addr)
	conn := dial(t, p)
	ask(t, conn, "warm")

	const oneWay = 400 * time.Microsecond
	p.Delay(oneWay)
	var trips []time.Duration
	for range 200 {
		began := time.Now()
		ask(t, conn, "x")
		trips = append(trips, time.Since(began))
	}
	slices.Sort(trips)
	if trips[0] < 2*oneWay {
		t.Errorf("fastest round trip %v, want at least %v", trips[0], 2*oneWay)
	}
	t.Logf("round trips at 2 x %v: median %v, fastest %v", oneWay, trips[len(trips)/2], trips[0])
}

func TestDelay_KeepsBandwidth(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := start(t, addr)
	conn := dial(t, p)
	const oneWay, asks = 50 * time.Millisecond, 40
	p.Delay(oneWay)

	began := time.Now()
	for range asks {
		send(t, conn, "x")
	}
	expect(t, conn, string(bytes.Repeat([]byte("x"), asks)))
	if took := time.Since(began); took < 2*oneWay || took > asks*oneWay {
		t.Errorf("%d pipelined bytes took %v, want about %v", asks, took, 2*oneWay)
	}
}

func TestClose_WhileStalledWithTraffic(t *testing.T) {
	t.Parallel()
	addr, ends := echo(t)
	p, err := proxy.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, p)
	ask(t, conn, "hello")
	p.Stall(proxy.Both)
	send(t, conn, "waiting")

	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	<-ends
	broken(t, conn)
	if err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v, want %v", err, net.ErrClosed)
	}
}

func TestStart_ServerIsDown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()

	broken(t, dial(t, start(t, addr)))
}
