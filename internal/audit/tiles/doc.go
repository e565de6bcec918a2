// Package tiles shows a vault's log to others as C2SP tlog-tiles: a signed
// checkpoint, tiles of hashes and bundles of entries, over HTTP or as files
// (docs/spec/tiles.md). Any client of that specification reads and checks it.
//
// It reads the folder of a log, perhaps a running vault's (audit/logfile), and writes
// nothing there. It proves nothing and is not to be trusted: what it serves a client
// checks against the checkpoint's signatures. It does say what stands in the log to
// whoever asks, so it listens on the loopback interface unless told otherwise.
package tiles
