// Package process is the coordinator's process: it wires the embedded broker,
// the transport, the chains' nodes, the risk engine's client, the coordinator
// and its HTTP API from one configuration file (docs/spec/api.md).
//
// It decides nothing itself, and no vault trusts it.
package process
