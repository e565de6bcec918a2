// Package api is the coordinator's HTTP/JSON interface (docs/spec/api.md), on
// loopback, with its OpenAPI 3.1 description at /openapi.json.
//
// It adds no authority. Reads need the token of a file; a write is worth what the
// signatures in its body are worth, which the coordinator checks as a courtesy
// and every vault for itself. What it shows is the coordinator's word.
package api
