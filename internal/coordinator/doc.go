// Package coordinator runs the pipeline of a signing request and keeps its state:
// it screens, collects approvals, asks vaults to sign, assembles, broadcasts, and
// follows the transaction to finality (docs/spec/pipeline.md).
//
// Nobody trusts it. It holds no key of the vaults; whatever it asks them for
// they check themselves, from the bytes that get signed and the people's
// signatures. It can stop the service, and it can lie in its own display; it
// cannot have anything signed that policy and people do not want.
//
// Every transition of a request is durable before anybody is told of it, so that
// a coordinator which is killed at any point carries on from its database.
package coordinator
