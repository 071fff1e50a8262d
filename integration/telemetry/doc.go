// Package telemetry has no code: its tests let a real Prometheus scrape
// examples/service, and buses of their own, on real brokers, and ask it what the
// alert rules and the dashboard in docs/telemetry ask.
package telemetry
