package brokers

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/leat-go/leat/integration/certs"
)

// The users of every RabbitMQ started here.
const (
	RabbitUser     = "leat" // an administrator
	RabbitPassword = "leat p@ss/word"
	// RabbitLimitedUser may configure, write and read what has a name
	// beginning with "limited." and nothing else.
	RabbitLimitedUser     = "limited"
	RabbitLimitedPassword = "limited p@ss/word"
	// RabbitClientUser is the common name in the certificate [certs.Client]: it
	// logs in with that, and may do everything, where there is
	// [RabbitMQOptions].External.
	RabbitClientUser = "leat-client"
)

// Names of ports of RabbitMQ.
const (
	portManagement = "management"
	portDist       = "dist" // Erlang distribution: rabbitmqctl
	portEpmd       = "epmd" // Erlang's port mapper
)

// RabbitMQOptions shape a private RabbitMQ.
type RabbitMQOptions struct {
	// Certificate is the one of package certs that the TLS listener presents;
	// empty is [certs.Server].
	Certificate string
	// External adds the mechanism EXTERNAL, in which a certificate is the
	// password, and the user [RabbitClientUser].
	External bool
	// Config has further lines for rabbitmq.conf, such as
	// "consumer_timeout = 10000". They come last.
	Config []string
}

// rabbit starts a RabbitMQ node with an Erlang port mapper of its own, so that
// nodes do not know of each other.
type rabbit struct{ opts RabbitMQOptions }

func (rabbit) ports() []string {
	return []string{portPlain, portTLS, portManagement, portDist, portEpmd}
}

func (r rabbit) certificate() string {
	if r.opts.Certificate == "" {
		return certs.Server
	}

	return r.opts.Certificate
}

func (r rabbit) prepare(_ context.Context, in *Instance) error {
	definitions, err := rabbitDefinitions(r.opts.External)
	if err != nil {
		return err
	}
	files := map[string]string{
		"rabbitmq.conf":    strings.Join(r.config(in), "\n") + "\n",
		"definitions.json": definitions,
		"enabled_plugins":  "[rabbitmq_management].\n",
	}
	if r.opts.External {
		files["enabled_plugins"] = "[rabbitmq_management,rabbitmq_auth_mechanism_ssl].\n"
	}
	for name, text := range files {
		if err := os.WriteFile(in.file(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("brokers: start rabbit: %w", err)
		}
	}

	return nil
}

func (r rabbit) config(in *Instance) []string {
	lines := []string{
		"listeners.tcp.1 = " + in.listener(portPlain),
		"listeners.ssl.1 = " + in.listener(portTLS),
		"ssl_options.cacertfile = " + in.set.CAFile(),
		"ssl_options.certfile = " + in.set.CertFile(r.certificate()),
		"ssl_options.keyfile = " + in.set.KeyFile(r.certificate()),
		"ssl_options.verify = verify_peer",
		"ssl_options.fail_if_no_peer_cert = false",
		"management.tcp.ip = 127.0.0.1",
		"management.tcp.port = " + strconv.Itoa(in.ports[portManagement].number),
		"load_definitions = " + in.file("definitions.json"),
		"log.console = true",
		"log.console.level = info",
		"log.file = false",
	}
	if r.opts.External {
		lines = append(lines, "auth_mechanisms.1 = PLAIN", "auth_mechanisms.2 = EXTERNAL", "ssl_cert_login_from = common_name")
	}

	return append(lines, r.opts.Config...)
}

func (rabbit) commands(in *Instance) []command {
	epmd, _ := exec.LookPath("epmd") // missing told what is missing
	number := func(name string) string { return strconv.Itoa(in.ports[name].number) }

	return []command{
		{
			path: epmd,
			args: []string{"-address", "127.0.0.1", "-port", number(portEpmd)},
			dir:  in.folder, log: in.file("epmd.log"),
		},
		{
			path: rabbitScript("rabbitmq-server"),
			env: append(rabbitEnv(in),
				"RABBITMQ_CONFIG_FILE="+in.file("rabbitmq.conf"),
				"RABBITMQ_ADVANCED_CONFIG_FILE="+in.file("advanced.config"),
				"RABBITMQ_CONF_ENV_FILE="+in.file("rabbitmq-env.conf"),
				"RABBITMQ_MNESIA_BASE="+in.file("mnesia"),
				"RABBITMQ_LOG_BASE="+in.folder,
				"RABBITMQ_ENABLED_PLUGINS_FILE="+in.file("enabled_plugins"),
				"RABBITMQ_SCHEMA_DIR="+in.file("schema"),
				"RABBITMQ_GENERATED_CONFIG_DIR="+in.file("config"),
				"RABBITMQ_PID_FILE="+in.file("rabbitmq.pid"),
				"RABBITMQ_DIST_PORT="+number(portDist),
				"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
				// The script then becomes the Erlang machine instead of waiting
				// for it: signals, and the death of our process, reach it.
				"RUNNING_UNDER_SYSTEMD=true",
			),
			dir: in.folder, log: in.logFile(),
		},
	}
}

// rabbitEnv is what the server and rabbitmqctl must agree on. HOME holds the
// cookie.
func rabbitEnv(in *Instance) []string {
	return []string{
		"HOME=" + in.folder,
		"RABBITMQ_NODENAME=leat@localhost",
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_EPMD_PORT=" + strconv.Itoa(in.ports[portEpmd].number),
	}
}

// Rabbitmqctl runs rabbitmqctl against a private RabbitMQ and returns what it
// printed, as in Rabbitmqctl(ctx, "close_all_connections", "test"). It takes
// a second or two: it is an Erlang machine of its own.
func (in *Instance) Rabbitmqctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, rabbitScript("rabbitmqctl"), args...)
	cmd.Dir = in.folder
	cmd.Env = append(os.Environ(), append(rabbitEnv(in), marker+"="+in.folder)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("brokers: rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, lastLines(out, 5))
	}

	return string(out), nil
}

// rabbitScript finds the real scripts: those in the PATH are a wrapper that
// switches to another user.
func rabbitScript(name string) string {
	found, err := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/" + name)
	if err != nil || len(found) == 0 {
		return ""
	}

	return found[len(found)-1]
}

func (rabbit) vars(in *Instance) []Var {
	address := func(scheme, port, user, password string) string {
		u := url.URL{Scheme: scheme, User: url.UserPassword(user, password), Host: in.listener(port), Path: "/"}

		return u.String()
	}

	return []Var{
		{EnvRabbitURL, address("amqp", portPlain, RabbitUser, RabbitPassword)},
		{EnvRabbitTLSURL, address("amqps", portTLS, RabbitUser, RabbitPassword)},
		{EnvRabbitLimitedURL, address("amqp", portPlain, RabbitLimitedUser, RabbitLimitedPassword)},
		{EnvRabbitManagementURL, address("http", portManagement, RabbitUser, RabbitPassword)},
	}
}

// rabbitDefinitions returns users and rights in the format that RabbitMQ
// imports at start; the guest user of a node without definitions does not
// exist then.
func rabbitDefinitions(external bool) (string, error) {
	type m = map[string]any
	user := func(name, password, tags string) m {
		return m{
			"name": name, "password_hash": rabbitHash(password),
			"hashing_algorithm": "rabbit_password_hashing_sha256", "tags": tags,
		}
	}
	rights := func(name, pattern string) m {
		return m{"user": name, "vhost": "/", "configure": pattern, "write": pattern, "read": pattern}
	}

	users := []m{
		user(RabbitUser, RabbitPassword, "administrator"),
		user(RabbitLimitedUser, RabbitLimitedPassword, ""),
	}
	permissions := []m{rights(RabbitUser, ".*"), rights(RabbitLimitedUser, `^limited\..*`)}
	if external {
		nobody := user(RabbitClientUser, "", "")
		nobody["password_hash"] = "" // no password is right
		users, permissions = append(users, nobody), append(permissions, rights(RabbitClientUser, ".*"))
	}

	text, err := json.MarshalIndent(m{
		"users":       users,
		"vhosts":      []m{{"name": "/"}},
		"permissions": permissions,
	}, "", "\t")
	if err != nil {
		return "", fmt.Errorf("brokers: write definitions: %w", err)
	}

	return string(text), nil
}

// rabbitHash is RabbitMQ's own form: salt, then the SHA-256 of salt and
// password.
func rabbitHash(password string) string {
	salt := make([]byte, 4)
	_, _ = rand.Read(salt) // never fails
	sum := sha256.Sum256(append(salt, password...))

	return base64.StdEncoding.EncodeToString(append(salt[:len(salt):len(salt)], sum[:]...))
}
