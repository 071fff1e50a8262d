package brokers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// composeFile is at the top of the checkout, beside the .brokers folder.
const composeFile = "docker-compose.yml"

// compose talks to docker compose about one project: the shared set or a run.
type compose struct {
	file    string
	project string
	env     []string
}

// composePorts names the variables of the compose file, by port.
func composePorts(kind Kind) map[string]string {
	switch kind {
	case KindRedis:
		return map[string]string{portPlain: "LEAT_REDIS_PORT", portTLS: "LEAT_REDIS_TLS_PORT"}
	case KindRabbit:
		return map[string]string{
			portPlain: "LEAT_RABBITMQ_PORT", portTLS: "LEAT_RABBITMQ_TLS_PORT",
			portManagement: "LEAT_RABBITMQ_MANAGEMENT_PORT",
		}
	case KindKafka:
		return map[string]string{
			portPlain: "LEAT_KAFKA_PORT", portTLS: "LEAT_KAFKA_SSL_PORT",
			portSASL: "LEAT_KAFKA_SASL_PORT", portMTLS: "LEAT_KAFKA_MTLS_PORT",
		}
	default:
		return nil
	}
}

// docker reports whether a Docker engine answers and can compose: the client
// alone is often installed without an engine.
func (h home) docker(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()

	if _, err := os.Stat(h.composeFile()); err != nil {
		return false
	}
	// Server.Version is what only an engine knows.
	if err := exec.CommandContext(ctx, "docker", "info", "--format", "{{.ServerVersion}}").Run(); err != nil {
		return false
	}

	return exec.CommandContext(ctx, "docker", "compose", "version").Run() == nil
}

func (h home) composeFile() string { return filepath.Join(filepath.Dir(h.dir), composeFile) }

// startDocker starts brokers as containers. The ports are chosen here, as for
// native ones, and handed to the compose file.
func (s *starter) startDocker(ctx context.Context, kinds []Kind) (map[Kind][]Var, error) {
	began := time.Now()
	c := compose{file: s.home.composeFile(), project: "leat"}
	if !s.shared {
		c.project = "leat-" + filepath.Base(s.folder)
	}

	var services []string
	instances := make(map[Kind]*Instance)
	for _, kind := range kinds {
		in, err := s.contained(kind, &c)
		if err != nil {
			return nil, err
		}
		instances[kind] = in
		services = append(services, string(kind))
	}
	s.log.line("docker compose up %v", services)
	s.compose = &c // also after a failure: what came up is to go down
	if err := c.run(ctx, append([]string{"up", "-d", "--wait"}, services...)...); err != nil {
		return nil, err
	}

	vars := make(map[Kind][]Var)
	for _, kind := range kinds {
		found := instances[kind].srv.vars(instances[kind])
		if err := s.awaitContainer(ctx, kind, found); err != nil {
			return vars, err
		}
		vars[kind] = found
		s.log.line("%s: up in %.1f s (docker), %s", kind, time.Since(began).Seconds(), instances[kind].Addr())
		if !s.shared {
			continue
		}
		s.state = s.state.with(record{Kind: kind, Project: c.project, Vars: found, Started: time.Now().UTC().Truncate(time.Second)})
		if err := s.home.writeState(s.state); err != nil {
			return vars, err
		}
	}

	return vars, nil
}

// contained describes a broker in a container: only its ports are ours.
func (s *starter) contained(kind Kind, c *compose) (*Instance, error) {
	srv := sharedServer(kind, s.home)
	in := &Instance{kind: kind, srv: srv, set: s.set, ports: map[string]*port{}}
	for name, variable := range composePorts(kind) {
		prefer := 0
		if s.shared {
			prefer = preferred(kind)[name]
		}
		p, err := pickPort(prefer)
		if err != nil {
			return nil, err
		}
		p.release() // Docker binds it now
		in.ports[name] = p
		c.env = append(c.env, variable+"="+strconv.Itoa(p.number))
	}

	return in, nil
}

// awaitContainer asks from outside: the health check in the container says
// nothing of the published ports.
func (s *starter) awaitContainer(ctx context.Context, kind Kind, vars []Var) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("gave up after %v", startLimit))
	defer cancel()

	err := poll(ctx, 100*time.Millisecond, func() error {
		probe, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()

		return answers(probe, kind, vars, s.set)
	})
	if err != nil {
		return fmt.Errorf("brokers: start %s in a container: %w", kind, err)
	}

	return nil
}

// down removes containers and volumes of the project.
func (c compose) down(ctx context.Context, services ...string) error {
	if len(services) > 0 {
		return c.run(ctx, append([]string{"rm", "--stop", "--force", "--volumes"}, services...)...)
	}

	return c.run(ctx, "down", "--volumes", "--remove-orphans", "--timeout", "1")
}

func (c compose) run(ctx context.Context, args ...string) error {
	words := append([]string{"compose", "-f", c.file, "-p", c.project}, args...)
	cmd := exec.CommandContext(ctx, "docker", words...)
	cmd.Env = append(os.Environ(), c.env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	var missing *exec.Error
	if errors.As(err, &missing) {
		return fmt.Errorf("brokers: docker compose %s: %w", args[0], err)
	}

	return fmt.Errorf("brokers: docker compose %s: %w: %s", args[0], err, lastLines(out, 5))
}
