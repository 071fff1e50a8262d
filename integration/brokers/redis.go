package brokers

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/leat-go/leat/integration/certs"
)

// Names of ports that more than one product has.
const (
	portPlain = "plain"
	portTLS   = "tls"
)

// The ACL user of every Redis started here. It may do all that is not
// @dangerous (so no INFO, KEYS, CLIENT KILL, CONFIG, ACL) on all keys.
const (
	RedisUser     = "leat"
	RedisPassword = "leat p@ss/word" // needs escaping in a URL, on purpose
)

// Fsync is a Redis appendfsync policy.
type Fsync string

// The policies. The zero value of [RedisOptions.Fsync] is FsyncAlways.
const (
	FsyncAlways      Fsync = "always"   // a confirmed write survives SIGKILL and power loss
	FsyncEverySecond Fsync = "everysec" // survives SIGKILL; a power loss takes up to a second
	NoAppendOnly     Fsync = "off"      // nothing is written to disk; a restart is empty
)

// RedisOptions shape a private Redis. The zero value is a server that keeps
// what it confirmed over a kill.
type RedisOptions struct {
	// Fsync is the append-only file's policy.
	Fsync Fsync
	// Certificate is the one of package certs that the TLS listener presents;
	// empty is [certs.Server].
	Certificate string
	// Config has further lines for redis.conf, such as "maxmemory 16mb". They
	// come last and win.
	Config []string
}

func (o RedisOptions) withDefaults() RedisOptions {
	if o.Fsync == "" {
		o.Fsync = FsyncAlways
	}
	if o.Certificate == "" {
		o.Certificate = certs.Server
	}

	return o
}

// redis starts redis-server.
type redis struct{ opts RedisOptions }

func (redis) ports() []string { return []string{portPlain, portTLS} }

func (r redis) prepare(ctx context.Context, in *Instance) error {
	version, err := installedRedis(ctx)
	if err != nil {
		return err
	}
	conf := strings.Join(r.config(in, version), "\n") + "\n"
	if err := os.WriteFile(in.file("redis.conf"), []byte(conf), 0o600); err != nil {
		return fmt.Errorf("brokers: start redis: %w", err)
	}

	return nil
}

func (r redis) config(in *Instance, version int) []string {
	opts := r.opts.withDefaults()
	lines := []string{
		"bind 127.0.0.1",
		"port " + strconv.Itoa(in.ports[portPlain].number),
		"tls-port " + strconv.Itoa(in.ports[portTLS].number),
		// Redis wants absolute paths here: it changes into dir first.
		"tls-cert-file " + strconv.Quote(in.set.CertFile(opts.Certificate)),
		"tls-key-file " + strconv.Quote(in.set.KeyFile(opts.Certificate)),
		"tls-ca-cert-file " + strconv.Quote(in.set.CAFile()),
		"tls-auth-clients optional",
		"dir " + strconv.Quote(in.folder),
		`save ""`,
	}
	rights := " ~* &* +@all -@dangerous"
	if version < 7 {
		rights += " +client|id +client|unblock" // later they are not called dangerous
	}
	lines = append(lines, "user "+RedisUser+" on "+strconv.Quote(">"+RedisPassword)+rights)
	if opts.Fsync == NoAppendOnly {
		lines = append(lines, "appendonly no")
	} else {
		lines = append(lines, "appendonly yes", "appendfsync "+string(opts.Fsync))
	}
	if version >= 7 {
		// The title would overwrite the environment that our marker is in, and
		// DEBUG SLEEP is one of the faults that tests make.
		lines = append(lines, "set-proc-title no", "enable-debug-command local")
	}

	return append(lines, opts.Config...)
}

// installedRedis returns the major version of the redis-server in PATH.
func installedRedis(ctx context.Context) (int, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return 0, fmt.Errorf("brokers: start redis: %w", err)
	}

	return redisVersion(ctx, path)
}

// redisVersion returns the major version: "Redis server v=7.0.15 sha=...".
func redisVersion(ctx context.Context, path string) (int, error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("brokers: ask %s for its version: %w", path, err)
	}
	found := regexp.MustCompile(`v=(\d+)\.`).FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("brokers: ask %s for its version: cannot read %q", path, out)
	}

	return strconv.Atoi(string(found[1])) //nolint:wrapcheck // digits, by the expression
}

func (redis) commands(in *Instance) []command { return redisCommand(in, in.file("redis.conf")) }

// redisCommand starts redis-server with the arguments.
func redisCommand(in *Instance, args ...string) []command {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		path = "redis-server" // the start says what is wrong
	}
	path, _ = filepath.Abs(path)

	return []command{{path: path, args: args, dir: in.folder, log: in.logFile()}}
}

func (r redis) certificate() string { return r.opts.withDefaults().Certificate }

func (redis) vars(in *Instance) []Var {
	acl := url.URL{Scheme: "redis", User: url.UserPassword(RedisUser, RedisPassword), Host: in.Addr(), Path: "/0"}

	return []Var{
		{EnvRedisURL, "redis://" + in.Addr() + "/0"},
		{EnvRedisTLSURL, "rediss://" + in.TLSAddr() + "/0"},
		{EnvRedisACLURL, acl.String()},
	}
}
