package brokers

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/leat-go/leat/integration/certs"
)

// pingRedis logs in as the URL says and sends PING. An empty trust with a
// rediss URL means the system's authorities.
func pingRedis(ctx context.Context, address string, trust *tls.Config) error {
	u, err := parseURL(EnvRedisURL, address)
	if err != nil {
		return err
	}
	if u.Scheme == "rediss" && trust == nil {
		trust = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	host := u.Host
	if u.Port() == "" {
		host = u.Hostname() + ":6379"
	}
	conn, err := dial(ctx, host, trust)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer was read

	replies := bufio.NewReader(conn)
	ask := func(words ...string) (string, error) {
		if _, err := conn.Write(respCommand(words)); err != nil {
			return "", fmt.Errorf("brokers: ask redis at %s: %w", u.Host, err)
		}
		line, err := replies.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("brokers: ask redis at %s: %w", u.Host, err)
		}

		return strings.TrimRight(line, "\r\n"), nil
	}

	if password, ok := u.User.Password(); ok {
		login := []string{"AUTH", password}
		if name := u.User.Username(); name != "" {
			login = []string{"AUTH", name, password}
		}
		if reply, err := ask(login...); err != nil {
			return err
		} else if reply != "+OK" {
			return fmt.Errorf("brokers: log in to redis at %s: %s", u.Host, reply)
		}
	}

	if reply, err := ask("PING"); err != nil {
		return err
	} else if reply != "+PONG" {
		return fmt.Errorf("brokers: ask redis at %s: answered %q to PING", u.Host, reply)
	}

	return nil
}

// respCommand writes a command as Redis reads it: an array of bulk strings.
func respCommand(words []string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}

	return []byte(b.String())
}

// redisAnswers is [answers] for Redis.
func redisAnswers(ctx context.Context, vars []Var, set *certs.Set) error {
	if err := pingRedis(ctx, lookup(vars, EnvRedisURL), nil); err != nil {
		return err
	}
	if set == nil {
		return nil
	}
	if err := pingRedis(ctx, lookup(vars, EnvRedisACLURL), nil); err != nil {
		return err
	}
	trust, err := set.Client("")
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}

	return pingRedis(ctx, lookup(vars, EnvRedisTLSURL), trust)
}
