package brokers

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/leat-go/leat/integration/certs"
)

// rabbitAnswers is [answers] for RabbitMQ.
func rabbitAnswers(ctx context.Context, vars []Var, set *certs.Set) error {
	if err := openAMQP(ctx, lookup(vars, EnvRabbitURL), nil); err != nil {
		return err
	}
	if set == nil {
		return nil
	}
	if err := openAMQP(ctx, lookup(vars, EnvRabbitLimitedURL), nil); err != nil {
		return err
	}
	trust, err := set.Client("")
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}
	if err := openAMQP(ctx, lookup(vars, EnvRabbitTLSURL), trust); err != nil {
		return err
	}

	return askManagement(ctx, lookup(vars, EnvRabbitManagementURL))
}

// Methods of AMQP 0-9-1's class Connection.
const (
	amqpStart   = 10
	amqpStartOK = 11
	amqpTune    = 30
	amqpTuneOK  = 31
	amqpOpen    = 40
	amqpOpenOK  = 41
	amqpClose   = 50
	amqpCloseOK = 51

	amqpClass    = 10
	amqpFrameEnd = 0xCE
)

// openAMQP logs in, opens the virtual host and closes again: a whole
// conversation, so that a broker that is only listening does not pass.
func openAMQP(ctx context.Context, address string, trust *tls.Config) error {
	u, err := parseURL(EnvRabbitURL, address)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, amqpHost(u), amqpTrust(u, trust))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the conversation is over

	if err := talkAMQP(conn, u); err != nil {
		return fmt.Errorf("brokers: ask rabbit at %s: %w", u.Host, err)
	}

	return nil
}

func amqpHost(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "amqps":
		return net.JoinHostPort(u.Hostname(), "5671")
	default:
		return net.JoinHostPort(u.Hostname(), "5672")
	}
}

func amqpTrust(u *url.URL, trust *tls.Config) *tls.Config {
	if u.Scheme == "amqps" && trust == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12} // the system's authorities
	}

	return trust
}

func talkAMQP(conn io.ReadWriter, u *url.URL) error {
	user, password := "guest", "guest"
	if u.User != nil {
		user = u.User.Username()
		password, _ = u.User.Password()
	}
	vhost := "/"
	if len(u.Path) > 1 {
		vhost = u.Path[1:]
	}

	in := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, "AMQP\x00\x00\x09\x01"); err != nil {
		return err //nolint:wrapcheck // openAMQP does
	}
	if _, err := readAMQP(in, amqpStart); err != nil {
		return err
	}

	startOK := []byte{0, 0, 0, 0} // no client properties
	startOK = shortText(startOK, "PLAIN")
	startOK = longText(startOK, "\x00"+user+"\x00"+password)
	startOK = shortText(startOK, "en_US")
	if err := writeAMQP(conn, amqpStartOK, startOK); err != nil {
		return err
	}

	tune, err := readAMQP(in, amqpTune) // channels, frame size, heartbeat: taken as offered
	if err != nil {
		return err
	}
	if err := writeAMQP(conn, amqpTuneOK, tune); err != nil {
		return err
	}
	if err := writeAMQP(conn, amqpOpen, append(shortText(nil, vhost), 0, 0)); err != nil {
		return err
	}
	if _, err := readAMQP(in, amqpOpenOK); err != nil {
		return err
	}

	goodbye := shortText([]byte{0, 200}, "bye")
	if err := writeAMQP(conn, amqpClose, append(goodbye, 0, 0, 0, 0)); err != nil {
		return err
	}
	_, err = readAMQP(in, amqpCloseOK)

	return err
}

func writeAMQP(w io.Writer, method uint16, args []byte) error {
	frame := []byte{1, 0, 0} // a method, on channel 0
	frame = binary.BigEndian.AppendUint32(frame, uint32(4+len(args)))
	frame = binary.BigEndian.AppendUint16(frame, amqpClass)
	frame = binary.BigEndian.AppendUint16(frame, method)
	frame = append(append(frame, args...), amqpFrameEnd)
	_, err := w.Write(frame)

	return err //nolint:wrapcheck // openAMQP does
}

var errProtocol = errors.New("not the answer that was expected")

// readAMQP returns the arguments of the wanted method.
func readAMQP(r io.Reader, want uint16) ([]byte, error) {
	head := make([]byte, 7)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err //nolint:wrapcheck // openAMQP does
	}
	size := binary.BigEndian.Uint32(head[3:])
	if head[0] != 1 || size < 4 || size > 1<<20 {
		return nil, fmt.Errorf("frame of type %d and %d bytes: %w", head[0], size, errProtocol)
	}
	body := make([]byte, size+1)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err //nolint:wrapcheck // openAMQP does
	}

	class, method := binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
	if class == amqpClass && method == amqpClose && len(body) > 7 {
		code, length := binary.BigEndian.Uint16(body[4:]), int(body[6])
		text := body[7:min(7+length, len(body))]

		return nil, fmt.Errorf("closed with %d %q: %w", code, text, errProtocol)
	}
	if class != amqpClass || method != want || body[size] != amqpFrameEnd {
		return nil, fmt.Errorf("method %d.%d instead of %d.%d: %w", class, method, amqpClass, want, errProtocol)
	}

	return body[4:size], nil
}

func shortText(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...)
}

func longText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// askManagement asks the HTTP API for its overview.
func askManagement(ctx context.Context, address string) error {
	u, err := parseURL(EnvRabbitManagementURL, address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Scheme+"://"+u.Host+"/api/overview", nil)
	if err != nil {
		return fmt.Errorf("brokers: ask rabbit's management: %w", err)
	}
	password, _ := u.User.Password()
	req.SetBasicAuth(u.User.Username(), password)

	transport := &http.Transport{DisableKeepAlives: true} // no proxy from the environment, no connection left behind
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("brokers: ask rabbit's management: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only the status matters
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("brokers: ask rabbit's management: %s: %w", resp.Status, errProtocol)
	}

	return nil
}
