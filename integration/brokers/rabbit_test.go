package brokers_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/leat-go/leat/integration/brokers"
)

// manage makes a request of the management API as the user of an amqp URL.
func manage(t *testing.T, management, amqp, method, path, body string) int {
	t.Helper()
	base, err := url.Parse(management)
	if err != nil {
		t.Fatal(err)
	}
	as, err := url.Parse(amqp)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+base.Host+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := as.User.Password()
	req.SetBasicAuth(as.User.Username(), password)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	return resp.StatusCode
}

func TestRabbitMQ_Users(t *testing.T) {
	t.Parallel()
	admin := brokers.RabbitMQ(t)
	limited := brokers.Shared(t, brokers.EnvRabbitLimitedURL)
	management := brokers.Shared(t, brokers.EnvRabbitManagementURL)

	permissions := "/api/permissions/%2F/limited"
	if got := manage(t, management, admin, http.MethodGet, permissions, ""); got != http.StatusOK {
		t.Errorf("the administrator asks for rights: %d", got)
	}
	if got := manage(t, management, limited, http.MethodGet, permissions, ""); got != http.StatusUnauthorized {
		t.Errorf("the limited user asks for rights: %d, want %d", got, http.StatusUnauthorized)
	}
	guest := "amqp://guest:guest@127.0.0.1/"
	if got := manage(t, management, guest, http.MethodGet, "/api/whoami", ""); got != http.StatusUnauthorized {
		t.Errorf("guest logs in: %d, want %d", got, http.StatusUnauthorized)
	}
}

func TestStartRabbitMQ_RestartKeepsQueues(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a RabbitMQ twice")
	}
	t.Parallel()
	in := brokers.StartRabbitMQ(t, brokers.RabbitMQOptions{Config: []string{"heartbeat = 7"}})
	if got, err := in.Rabbitmqctl(t.Context(), "environment"); err != nil || !strings.Contains(got, "{heartbeat,7}") {
		t.Errorf("the option is not in the environment: %v", err)
	}
	management := in.Value(brokers.EnvRabbitManagementURL)
	const queue = "/api/queues/%2F/kept"
	if got := manage(t, management, in.URL(), http.MethodPut, queue, `{"durable":true,"arguments":{"x-queue-type":"quorum"}}`); got != http.StatusCreated {
		t.Fatalf("declare: %d", got)
	}

	before := in.PID()
	if err := errors.Join(in.Restart(t.Context()), in.Pause(), in.Resume()); err != nil {
		t.Fatal(err)
	}
	if in.PID() == before {
		t.Error("it was not restarted")
	}
	if got := manage(t, management, in.URL(), http.MethodGet, queue, ""); got != http.StatusOK {
		t.Errorf("the queue after the restart: %d, want %d", got, http.StatusOK)
	}
}
