// Package certs makes the certificates that tests of TLS need: a certificate
// authority, a server, a client, and three that must be refused: an expired
// one, one signed by another authority, one for another host name.
//
// Everything is throw-away test material. The keys protect nothing, are made
// on the machine that uses them, and never leave it.
//
//	set, err := certs.Ensure("/abs/folder/certs")
//	cfg, err := set.Client(certs.Client) // mutual TLS towards the test brokers
//
// # Files
//
// For each name N of [Names] the folder holds N.pem (the certificate, its
// authority after it), N-key.pem (PKCS#8) and N-keystore.pem (key, then
// chain, in one file: what Kafka's PEM key store wants). The authorities are
// ca.pem and other-ca.pem.
package certs
