package brokers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/leat-go/leat/integration/certs"
)

// The SASL user of every Kafka started here, for PLAIN, SCRAM-SHA-256 and
// SCRAM-SHA-512 alike.
const (
	KafkaUser     = "leat"
	KafkaPassword = "leat-kafka-secret"
)

// Names of ports of Kafka.
const (
	portSASL       = "sasl"
	portMTLS       = "mtls"
	portController = "controller"
)

// KafkaOptions shape a private Kafka.
type KafkaOptions struct {
	// Certificate is the one of package certs that the TLS listeners present;
	// empty is [certs.Server].
	Certificate string
	// Config has further lines for server.properties, such as
	// "auto.create.topics.enable=true". They come last and win.
	Config []string
}

// kafka starts one node that is broker and controller (KRaft). libs is the
// folder of the jars.
type kafka struct {
	opts KafkaOptions
	libs string
}

func (kafka) ports() []string {
	return []string{portPlain, portTLS, portSASL, portMTLS, portController}
}

func (k kafka) certificate() string {
	if k.opts.Certificate == "" {
		return certs.Server
	}

	return k.opts.Certificate
}

func (k kafka) prepare(ctx context.Context, in *Instance) error {
	files := map[string]string{
		"server.properties": strings.Join(k.config(in), "\n") + "\n",
		"log4j2.xml":        kafkaLogging,
	}
	for name, text := range files {
		if err := os.WriteFile(in.file(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("brokers: start kafka: %w", err)
		}
	}

	return k.format(ctx, in)
}

// format prepares the storage, which is also where the SCRAM users of a new
// cluster come from. It takes a JVM and more than a second of work, with a
// result that depends on nothing but the release: so it is done once and
// copied. All clusters made from one copy have the same id, which matters to
// nobody as long as they do not meet.
func (k kafka) format(ctx context.Context, in *Instance) error {
	data, kept := in.file("data"), k.libs+"-formatted"
	if err := os.CopyFS(data, os.DirFS(kept)); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("brokers: copy kafka's storage: %w", err)
	}
	if err := os.RemoveAll(data); err != nil { // CopyFS made it before it looked
		return fmt.Errorf("brokers: format kafka's storage: %w", err)
	}

	args := []string{"kafka.tools.StorageTool", "format", "-t", clusterID(), "-c", in.file("server.properties")}
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, KafkaUser, KafkaPassword))
	}
	cmd := exec.CommandContext(ctx, javaPath(), append(k.java(in), args...)...)
	cmd.Dir = in.folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("brokers: format kafka's storage: %w: %s", err, lastLines(out, 5))
	}

	// Whoever comes second finds the folder there and keeps the other's.
	part := in.file("formatted")
	if err := os.CopyFS(part, os.DirFS(data)); err != nil {
		return fmt.Errorf("brokers: keep kafka's storage: %w", err)
	}
	if err := os.Rename(part, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("brokers: keep kafka's storage: %w", err)
	}

	return nil
}

func (k kafka) commands(in *Instance) []command {
	classes := "-XX:SharedArchiveFile=" + k.archive()
	if _, err := os.Stat(k.archive()); err != nil {
		classes = "-XX:ArchiveClassesAtExit=" + in.file(archiveFile)
	}

	return []command{{
		path: javaPath(),
		args: append(append(k.java(in), classes), "kafka.Kafka", in.file("server.properties")),
		dir:  in.folder, log: in.logFile(),
	}}
}

// archiveFile holds the classes of a broker in the form that a JVM maps
// instead of parsing: it halves the work of a start. The JVM writes it when it
// ends cleanly, and ignores one that does not fit.
const archiveFile = "classes.jsa"

func (k kafka) archive() string { return k.libs + ".jsa" }

// saveArchive ends a Kafka cleanly if that yields the archive of classes which
// this checkout does not have yet. It happens once; Kafka is killed otherwise.
func (in *Instance) saveArchive() {
	k, ok := in.srv.(kafka)
	if !ok {
		return
	}
	if _, err := os.Stat(k.archive()); err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), archiveLimit)
	defer cancel()

	if err := in.Stop(ctx); err == nil {
		_ = os.Rename(in.file(archiveFile), k.archive()) // without it the next start is slower, no more
	}
}

const archiveLimit = 20 * time.Second

// java returns the arguments before the class: a small heap and the compiler
// that starts fastest.
func (k kafka) java(in *Instance) []string {
	return []string{
		"-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + in.file("log4j2.xml"),
		"-cp", filepath.Join(k.libs, "*"),
	}
}

func javaPath() string {
	path, err := exec.LookPath("java")
	if err != nil {
		return "java" // the start says what is wrong
	}

	return path
}

// clusterID is what StorageTool random-uuid prints, without another JVM.
func clusterID() string {
	id := make([]byte, 16)
	for {
		_, _ = rand.Read(id) // never fails
		if text := base64.RawURLEncoding.EncodeToString(id); text[0] != '-' {
			return text
		}
	}
}

func (k kafka) config(in *Instance) []string {
	listener := func(name, port string) string { return name + "://" + in.listener(port) }
	clients := strings.Join([]string{
		listener("PLAINTEXT", portPlain), listener("SSL", portTLS), listener("SASL_SSL", portSASL), listener("MTLS", portMTLS),
	}, ",")

	lines := []string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + in.listener(portController),
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=PLAINTEXT",
		"listeners=" + clients + "," + listener("CONTROLLER", portController),
		"advertised.listeners=" + clients,
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,MTLS:SSL,CONTROLLER:PLAINTEXT",
		"log.dirs=" + in.file("data"),

		"ssl.keystore.type=PEM",
		"ssl.keystore.location=" + in.set.KeystoreFile(k.certificate()),
		"ssl.truststore.type=PEM",
		"ssl.truststore.location=" + in.set.CAFile(),
	}
	lines = append(lines, kafkaSettings()...)

	return append(lines, k.opts.Config...)
}

// kafkaSettings is what depends on neither ports nor files; the compose file
// has the same lines.
func kafkaSettings() []string {
	const jaas = "org.apache.kafka.common.security."
	lines := []string{
		"listener.name.mtls.ssl.client.auth=required",
		"listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		fmt.Sprintf(`listener.name.sasl_ssl.plain.sasl.jaas.config=%splain.PlainLoginModule required user_%s="%s";`, jaas, KafkaUser, KafkaPassword),
		"listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=" + jaas + "scram.ScramLoginModule required;",
		"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=" + jaas + "scram.ScramLoginModule required;",

		"auto.create.topics.enable=false",
		"group.initial.rebalance.delay.ms=0",
		"group.min.session.timeout.ms=1000", // tests wait for dead members
		"log.cleaner.dedupe.buffer.size=4194304",
	}
	for _, name := range []string{"offsets.topic", "transaction.state.log", "share.coordinator.state.topic"} {
		lines = append(lines, name+".replication.factor=1", name+".num.partitions=1")
	}

	return append(lines, "transaction.state.log.min.isr=1", "share.coordinator.state.topic.min.isr=1")
}

func (kafka) vars(in *Instance) []Var {
	return []Var{
		{EnvKafkaBrokers, in.listener(portPlain)},
		{EnvKafkaSSLBrokers, in.listener(portTLS)},
		{EnvKafkaSASLSSLBrokers, in.listener(portSASL)},
		{EnvKafkaMTLSBrokers, in.listener(portMTLS)},
		{EnvKafkaSASLUser, KafkaUser},
		{EnvKafkaSASLPassword, KafkaPassword},
	}
}

// kafkaLogging sends what matters to the output that becomes broker.log.
const kafkaLogging = `<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
	<Appenders><Console name="out" target="SYSTEM_OUT"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
	<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
`
