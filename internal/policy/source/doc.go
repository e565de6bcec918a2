// Package source turns a policy as people write it, YAML or JSON with conditions in
// CEL syntax, into the canonical Document that vaults sign and evaluate, and back
// (docs/policy.md).
//
// Conditions are parsed and type-checked by cel-go in an environment that declares
// exactly what a policy can read, and then translated to the document's small tree.
// What CEL has and the tree has not is an error. Every error points at line and
// column of the file and suggests the name meant.
//
// This package runs in the tools and the services around the vaults, never inside
// the boundary: a vault receives only the document's encoding and checks all of it
// again. It must not be trusted with more than writing down what somebody then
// reads and signs: YAML(document) shows what a document really says, whichever file
// it came from.
//
// It evaluates nothing, and does not say whether a rule can ever be reached:
// package analysis does.
package source
