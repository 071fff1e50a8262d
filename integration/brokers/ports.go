package brokers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// Ports of private instances and runs come from below the range that the
// kernel hands to outgoing connections (32768 and up), so nobody takes a port
// by accident while its broker is down for a restart.
const (
	firstPort = 23000
	lastPort  = 31999
)

var errNoPort = errors.New("no free port")

// port is a loopback TCP port that this process holds: other processes that
// ask this package leave it alone until release, even while nobody listens.
type port struct {
	number int
	lock   *os.File
}

// freePort finds and holds one.
func freePort() (*port, error) {
	for range 200 {
		p, err := holdPort(firstPort + rand.IntN(lastPort-firstPort+1))
		if err == nil {
			return p, nil
		}
	}

	return nil, fmt.Errorf("brokers: find port: %w between %d and %d", errNoPort, firstPort, lastPort)
}

// holdPort takes the given one, or says why it cannot be had.
func holdPort(number int) (*port, error) {
	dir := filepath.Join(os.TempDir(), "leat-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("brokers: hold port %d: %w", number, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(number)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("brokers: hold port %d: %w", number, err)
	}
	if err := lockFile(lock, false); err != nil {
		return nil, errors.Join(fmt.Errorf("brokers: hold port %d: %w", number, err), lock.Close())
	}

	listener, err := net.Listen("tcp", loopback(number)) //nolint:noctx // binds a local port and lets it go
	if err != nil {
		return nil, errors.Join(fmt.Errorf("brokers: hold port %d: %w", number, err), lock.Close())
	}
	if err := listener.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("brokers: hold port %d: %w", number, err), lock.Close())
	}

	return &port{number: number, lock: lock}, nil
}

// release lets others have the port. The lock file stays: removing it would
// let two processes lock two files of one name.
func (p *port) release() { _ = p.lock.Close() }

func loopback(number int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(number)) }
