// Package proxy puts a TCP proxy between a client and a broker and makes the
// faults of a network: cut connections, stalls, delays, half-open connections,
// a server that refuses to be connected to.
//
//	p, err := proxy.Start(broker.Addr())
//	defer p.Close()
//	client := dial(p.Addr())
//
//	p.Stall(proxy.ToClient) // the server hears everything, its answers stay away
//	p.Cut()                 // and then the connections are gone
//
// Faults take effect on connections that are open as well as on new ones, and
// stay until they are ended. Bytes are never changed or reordered; they are
// lost only where a fault says so.
package proxy
