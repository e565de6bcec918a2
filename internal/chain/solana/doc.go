// Package solana is the chain family solana inside the vault's boundary: legacy
// messages that pay lamports from one wallet, which is the fee payer and the only
// signer.
//
// It decodes a message strictly (System transfers, the Compute Budget's limit and
// price, one memo, a durable nonce), encodes again what it decoded, and refuses
// when the two differ. An Ed25519 signature signs the message itself, not a
// digest. Whatever is not understood is refused: an instruction of another
// program, a versioned message, an account that nothing uses.
//
// What it does not do: it does not talk to a node, it knows no balances, rent or
// blockhashes. Two things a message does not say, and no codec can know. It does
// not name its cluster: a message is good wherever its blockhash is, so that this
// package knows one chain only, mainnet. And whether the blockhash is a durable
// nonce cannot be told from the bytes, so that two different messages are always
// taken as two payments (Codec.Prepare).
//
// Nobody is trusted: bytes, senders, fees and signatures come from the
// coordinator. Formats: docs/spec/solana.md.
package solana
