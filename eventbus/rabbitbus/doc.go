// Package rabbitbus is the transport to RabbitMQ: a Watermill publisher and
// subscriber on AMQP 0-9-1, and the event bus on them.
package rabbitbus
