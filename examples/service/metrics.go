package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// newMetrics returns where the bus counts to, and what Prometheus scrapes. leat
// knows OpenTelemetry's API only: another exporter is another reader here.
func newMetrics(instance string) (*sdk.MeterProvider, http.Handler, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprom.New(otelprom.WithRegisterer(reg), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, nil, err
	}
	provider := sdk.NewMeterProvider(sdk.WithReader(exporter), sdk.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "shop"), attribute.String("service.instance.id", instance),
	)))
	return provider, promhttp.HandlerFor(reg, promhttp.HandlerOpts{}), nil
}
