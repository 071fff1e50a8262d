package eventbus_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/leat-go/leat/eventbus/membus"
)

// The probes of an orchestrator: what is being stopped gets no more traffic, and
// is not killed for it.
func ExampleBus_ReadyHandler() {
	bus := must(membus.New(membus.Config{Registry: bank()}))
	mux := http.NewServeMux()
	mux.Handle("GET /live", bus.LiveHandler())
	mux.Handle("GET /ready", bus.ReadyHandler())
	probe := func(path string) {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil))
		fmt.Print(path, " ", rec.Code, " ", rec.Body)
	}
	probe("/ready")
	must(bus.Drain(context.Background()))
	probe("/ready")
	probe("/live")
	must(bus.Shutdown(context.Background()))
	probe("/live")
	// Output:
	// /ready 200 {"live":true,"ready":true}
	// /ready 503 {"live":true,"ready":false,"reason":"draining"}
	// /live 200 {"live":true,"ready":false,"reason":"draining"}
	// /live 503 {"live":false,"ready":false,"reason":"closed"}
}
