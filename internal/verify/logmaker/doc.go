// Package logmaker makes a vault's log as a busy cluster leaves it, of any length,
// with real signatures, to measure and to test what reads logs. For a third of the
// entries each: a decision that allows (one in five with two approvals), the release
// of the share on a peer's signed checkpoint, and the receipt; between them some
// refusals. Sixty-four entries become durable together, and share the checkpoints.
//
// The wallet's key is dealt in one piece and the peers' roots are made up: it is
// nothing to learn about signing from, and no key of it is worth anything.
package logmaker
