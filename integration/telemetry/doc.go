// Package telemetry has no code: its test lets a real Prometheus scrape buses
// on real brokers, and asks it what the alert rules and the dashboard in
// docs/telemetry ask.
package telemetry
