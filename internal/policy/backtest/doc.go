// Package backtest decides the past again: what a policy would say to the requests
// that the vaults' logs tell of, in their order, with the limits' history as it
// would then have been.
//
// It reads copies of logs and believes them (coffer log verify checks them), and it
// is no part of what a vault decides with. What one policy says of all requests that
// could be made, and not of those that were, package analysis proves.
package backtest
