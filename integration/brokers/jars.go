package brokers

import (
	"context"
	_ "embed" // the pom
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// kafkaVersion is the release in kafka-pom.xml. A test compares the two.
const kafkaVersion = "4.4.0"

//go:embed kafka-pom.xml
var kafkaPOM []byte

// kafkaLibs is the folder of the jars. It appears, complete, by a rename.
func (h home) kafkaLibs() string { return h.path("cache", "kafka-"+kafkaVersion) }

func (i *installer) jarsThere() bool {
	info, err := os.Stat(i.home.kafkaLibs())

	return err == nil && info.IsDir()
}

// kafkaJars fetches Apache Kafka from Maven Central, once for a checkout.
func (i *installer) kafkaJars(ctx context.Context) error {
	unlock, err := i.home.lockNamed("kafka.lock")
	if err != nil {
		return err
	}
	defer unlock()
	if i.jarsThere() {
		return nil
	}

	began := time.Now()
	i.log.line("fetching the jars of Apache Kafka %s (mvn)", kafkaVersion)
	libs := i.home.kafkaLibs()
	part := libs + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("brokers: fetch kafka: %w", err)
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return fmt.Errorf("brokers: fetch kafka: %w", err)
	}
	pom := filepath.Join(part, "pom.xml")
	if err := os.WriteFile(pom, kafkaPOM, 0o644); err != nil {
		return fmt.Errorf("brokers: fetch kafka: %w", err)
	}

	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("brokers: fetch kafka %s from Maven Central: %w: %s", kafkaVersion, err, lastLines(out, 5))
	}
	if err := os.Rename(part, libs); err != nil {
		return fmt.Errorf("brokers: fetch kafka: %w", err)
	}
	i.log.line("fetched Apache Kafka in %.1f s", time.Since(began).Seconds())

	return nil
}
