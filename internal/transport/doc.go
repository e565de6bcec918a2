// Package transport carries frames, commands and replies over NATS: the embedded
// server that runs in the coordinator's process, the node's client and the
// coordinator's. Subjects and messages are specified in docs/spec/transport.md.
//
// Nodes dial out and open no port. Each user of the broker has a key (nkey) and
// may use only the subjects of its role: a node cannot read what is for another
// node, nor answer in its name.
//
// The broker and everybody behind it are not trusted: what counts is sealed or
// signed by the vaults. The permissions keep a stolen credential from costing
// more liveness than it must. Delivery is at most once; nothing that must
// survive rests on it, and JetStream is off.
package transport
