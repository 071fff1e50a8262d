package integration_test

import "net"

// toProxy makes sarama connect to a proxy, whatever address the brokers say.
type toProxy struct{ addr string }

// Dial is sarama's hook.
func (p toProxy) Dial(network, _ string) (net.Conn, error) { return net.Dial(network, p.addr) }
