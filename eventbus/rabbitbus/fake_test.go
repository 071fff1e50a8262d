package rabbitbus_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// fake is a scripted AMQP server: it says yes to everything, notes what it is
// told, and does what the script has for a method instead. It is for what only
// brokers newer than the one at hand do.
type fake struct {
	url    string
	script func(c *fakeConn, channel uint16, m string, args []byte) (done bool)

	mu   sync.Mutex
	told []string // methods, as "queue.declare name ..."
	args map[string][]byte
}

// fakeConn is one connection to it.
type fakeConn struct {
	f    *fake
	conn net.Conn

	mu        sync.Mutex
	delivered uint64 // delivery tags given, over all channels
	published map[uint16]uint64
}

// The methods that leat's client uses, by class and number.
var fakeMethods = map[uint32]string{
	10<<16 | 11: "connection.start-ok", 10<<16 | 31: "connection.tune-ok", 10<<16 | 40: "connection.open",
	10<<16 | 50: "connection.close", 10<<16 | 51: "connection.close-ok",
	20<<16 | 10: "channel.open", 20<<16 | 40: "channel.close", 20<<16 | 41: "channel.close-ok",
	40<<16 | 10: "exchange.declare", 50<<16 | 10: "queue.declare", 50<<16 | 20: "queue.bind",
	60<<16 | 10: "basic.qos", 60<<16 | 20: "basic.consume", 60<<16 | 30: "basic.cancel",
	60<<16 | 40: "basic.publish", 60<<16 | 80: "basic.ack", 60<<16 | 120: "basic.nack", 85<<16 | 10: "confirm.select",
}

func startFake(t *testing.T, script func(c *fakeConn, channel uint16, m string, args []byte) bool) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{url: "amqp://" + listener.Addr().String() + "/", script: script, args: map[string][]byte{}}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			serving.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return f
}

// count returns how often something was told.
func (f *fake) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, t := range f.told {
		if t == what {
			n++
		}
	}
	return n
}

// declared returns the declaration of a queue, as it was on the wire.
func (f *fake) declared(queue string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.args[queue]
}

func short(s string) []byte { return append([]byte{byte(len(s))}, s...) }

func long(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }

// table has int32 and text values, one after the other: name, value, ...
func table(pairs ...any) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = append(b, short(pairs[i].(string))...)
		switch v := pairs[i+1].(type) {
		case int:
			b = binary.BigEndian.AppendUint32(append(b, 'I'), uint32(v))
		case string:
			b = append(append(b, 'S'), long(v)...)
		case bool:
			b = append(b, 't', map[bool]byte{true: 1}[v])
		case []byte: // a table
			b = append(append(b, 'F'), v...)
		}
	}
	return long(string(b))
}

func (c *fakeConn) frame(kind byte, channel uint16, payload []byte) {
	var b []byte
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(append(b, payload...), 0xCE)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.conn.Write(b) // whose reader is gone needs no answer
}

// say sends a method.
func (c *fakeConn) say(channel, class, method uint16, args ...[]byte) {
	b := binary.BigEndian.AppendUint16(nil, class)
	b = binary.BigEndian.AppendUint16(b, method)
	c.frame(1, channel, append(b, bytes.Join(args, nil)...))
}

// deliver sends a message to a consumer; event is its id.
func (c *fakeConn) deliver(channel uint16, tag, event string, again bool, headers ...any) {
	c.mu.Lock()
	c.delivered++
	n := c.delivered
	c.mu.Unlock()
	redelivered := []byte{0}
	if again {
		redelivered[0] = 1
	}
	body := []byte(`{"n":1}`)
	c.say(channel, 60, 60, short(tag), binary.BigEndian.AppendUint64(nil, n), redelivered, short("fake"), short("Test.Tested"))
	header := binary.BigEndian.AppendUint16(nil, 60)
	header = append(header, 0, 0)
	header = binary.BigEndian.AppendUint64(header, uint64(len(body)))
	header = binary.BigEndian.AppendUint16(header, 1<<13|1<<7) // headers, message id
	header = append(header, table(append([]any{"event_type", "Tested", "aggregate_id", event}, headers...)...)...)
	c.frame(2, channel, append(header, short(event)...))
	c.frame(3, channel, body)
}

func (f *fake) serve(conn net.Conn) {
	c := &fakeConn{f: f, conn: conn, published: map[uint16]uint64{}}
	in := bufio.NewReader(conn)
	if _, err := io.ReadFull(in, make([]byte, 8)); err != nil { // "AMQP" and the version
		return
	}
	capabilities := table("publisher_confirms", true, "consumer_cancel_notify", true, "basic.nack", true, "authentication_failure_close", true)
	c.say(0, 10, 10, []byte{0, 9}, table("product", "RabbitMQ", "version", "4.3.0", "capabilities", capabilities), long("PLAIN"), long("en_US"))
	for {
		head := make([]byte, 7)
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		if head[0] != 1 {
			continue // content, heartbeats
		}
		m := fakeMethods[binary.BigEndian.Uint32(payload)]
		channel, args := binary.BigEndian.Uint16(head[1:]), payload[4:len(payload)-1]
		f.note(m, args)
		if f.script == nil || !f.script(c, channel, m, args) {
			c.agree(channel, m, args)
		}
	}
}

// first returns the first short string after the reserved number.
func first(args []byte) string { return string(args[3 : 3+int(args[2])]) }

func (f *fake) note(m string, args []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch m {
	case "queue.declare":
		f.args[first(args)] = bytes.Clone(args)
	case "basic.ack":
		m = fmt.Sprintf("basic.ack %d", binary.BigEndian.Uint64(args))
	}
	f.told = append(f.told, m)
}

// agree answers as a broker does when all is well.
func (c *fakeConn) agree(channel uint16, m string, args []byte) {
	switch m {
	case "connection.start-ok":
		c.say(0, 10, 30, []byte{7, 255, 0, 2, 0, 0, 0, 0}) // tune: 2047 channels, frames of 128 KiB, no heartbeat
	case "connection.open":
		c.say(0, 10, 41, short(""))
	case "connection.close":
		c.say(0, 10, 51)
	case "channel.open":
		c.say(channel, 20, 11, long(""))
	case "channel.close":
		c.say(channel, 20, 41)
	case "exchange.declare":
		c.say(channel, 40, 11)
	case "queue.declare":
		c.say(channel, 50, 11, short(first(args)), make([]byte, 8))
	case "queue.bind":
		c.say(channel, 50, 21)
	case "basic.qos":
		c.say(channel, 60, 11)
	case "basic.consume":
		c.say(channel, 60, 21, short(consumerTag(args)))
	case "basic.cancel":
		c.say(channel, 60, 31, args[:1+int(args[0])])
	case "basic.publish":
		c.mu.Lock()
		c.published[channel]++
		n := c.published[channel]
		c.mu.Unlock()
		c.say(channel, 60, 80, binary.BigEndian.AppendUint64(nil, n), []byte{0})
	case "confirm.select":
		c.say(channel, 85, 11)
	}
}

// consumerTag returns the tag that a consumer was given by the client.
func consumerTag(args []byte) string {
	rest := args[3+int(args[2]):]
	return string(rest[1 : 1+int(rest[0])])
}
