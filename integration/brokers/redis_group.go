package brokers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// askRedis sends one command to a Redis or a sentinel and returns the bulk
// strings, texts and numbers of the reply, nested arrays flattened.
func askRedis(ctx context.Context, addr string, words ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := dial(ctx, addr, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // the answer was read
	if _, err := conn.Write(respCommand(words)); err != nil {
		return nil, fmt.Errorf("brokers: ask redis at %s: %w", addr, err)
	}
	reply, err := flatReply(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, fmt.Errorf("brokers: ask redis at %s for %s: %w", addr, strings.Join(words[:min(2, len(words))], " "), err)
	}

	return reply, nil
}

// flatReply appends what a reply holds to list.
func flatReply(r *bufio.Reader, list []string) ([]string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was asked
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("an empty line for a reply")
	}
	head, rest := line[0], line[1:]
	switch head {
	case '+', ':':
		return append(list, rest), nil
	case '-':
		return nil, errors.New(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return nil, fmt.Errorf("cannot read %q", line)
	}
	if head == '$' {
		if n < 0 {
			return append(list, ""), nil
		}
		text := make([]byte, n+len("\r\n"))
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err //nolint:wrapcheck // the caller says what was asked
		}

		return append(list, string(text[:n])), nil
	}
	for range n { // an array
		if list, err = flatReply(r, list); err != nil {
			return nil, err
		}
	}

	return list, nil
}

// redisFields returns what INFO and its like say: "key:value" lines, or an
// array of keys and values.
func redisFields(ctx context.Context, addr string, words ...string) (map[string]string, error) {
	reply, err := askRedis(ctx, addr, words...)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	if len(reply) == 1 {
		for line := range strings.Lines(reply[0]) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			fields[key] = value
		}

		return fields, nil
	}
	for i := 0; i+1 < len(reply); i += 2 {
		fields[reply[i]] = reply[i+1]
	}

	return fields, nil
}

// awaitRedis waits until every instance's fields satisfy ready.
func awaitRedis(ctx context.Context, what string, instances []*Instance, words []string, ready func(map[string]string) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("gave up after %v", startLimit))
	defer cancel()
	for _, in := range instances {
		var last map[string]string
		err := poll(ctx, 20*time.Millisecond, func() error {
			fields, err := redisFields(ctx, in.Addr(), words...)
			if err != nil {
				return err
			}
			if last = fields; !ready(fields) {
				return errNotReady
			}

			return nil
		})
		if err != nil {
			return fmt.Errorf("brokers: wait for %s: %w; it says %.600v%s", what, err, last, in.logTail())
		}
	}

	return nil
}

var errNotReady = errors.New("it is not ready")
