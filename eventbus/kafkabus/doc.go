// Package kafkabus is the event bus on Apache Kafka, and its transport: a
// Watermill Publisher and Subscriber on franz-go that serve any Watermill
// project by themselves.
package kafkabus
