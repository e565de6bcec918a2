// Parties and a coordinator of FROST as @noble/curves has it, on behalf of noble_test.go: a JSON request a
// line on stdin, a JSON answer a line on stdout.
import { createInterface } from 'node:readline';
import { ed25519_FROST, ed25519 } from '@noble/curves/ed25519.js';
import { schnorr_FROST, secp256k1_FROST, schnorr, __TEST } from '@noble/curves/secp256k1.js';
import { bytesToHex, hexToBytes } from '@noble/curves/utils.js';

const suites = {
  'FROST-ED25519-SHA512-v1': ed25519_FROST,
  'FROST-secp256k1-SHA256-v1': secp256k1_FROST,
  'FROST-secp256k1-SHA256-TR-v1': schnorr_FROST,
};
const parties = new Map(); // by suite and id: the secret and its nonces

const name = (F, id) => F.Identifier.fromNumber(id);

// pub is the key as noble wants it; root, if any, is the merkle root of the Taproot tweak ("" = empty).
function publicOf(F, key) {
  const pub = {
    signers: { min: key.threshold, max: key.total },
    commitments: [hexToBytes(key.publicKey)],
    verifyingShares: Object.fromEntries(Object.entries(key.shares).map(([id, x]) => [name(F, Number(id)), hexToBytes(x)])),
  };
  return key.root === undefined ? pub : __TEST.frostTweakPublic(pub, hexToBytes(key.root));
}

function secretOf(F, key, id, share) {
  const s = { identifier: name(F, id), signingShare: hexToBytes(share) };
  const plain = { ...key, root: undefined };
  return key.root === undefined ? s : __TEST.frostTweakSecret(s, publicOf(F, plain), hexToBytes(key.root));
}

const listOf = (F, list) => list.map((c) => ({ identifier: name(F, c.id), hiding: hexToBytes(c.hiding), binding: hexToBytes(c.binding) }));

const ops = {
  commit(F, r) {
    const secret = secretOf(F, r.key, r.id, r.share);
    const { nonces, commitments } = F.commit(secret);
    parties.set(r.suite + r.id, { secret, nonces });
    return { hiding: bytesToHex(commitments.hiding), binding: bytesToHex(commitments.binding) };
  },
  sign(F, r) {
    const { secret, nonces } = parties.get(r.suite + r.id);
    parties.delete(r.suite + r.id);
    return { z: bytesToHex(F.signShare(secret, publicOf(F, r.key), nonces, listOf(F, r.list), hexToBytes(r.message))) };
  },
  verifyShare(F, r) {
    return { ok: F.verifyShare(publicOf(F, r.key), listOf(F, r.list), hexToBytes(r.message), name(F, r.id), hexToBytes(r.z)) };
  },
  aggregate(F, r) {
    const shares = Object.fromEntries(Object.entries(r.shares).map(([id, z]) => [name(F, Number(id)), hexToBytes(z)]));
    return { sig: bytesToHex(F.aggregate(publicOf(F, r.key), listOf(F, r.list), hexToBytes(r.message), shares)) };
  },
  verify(F, r) {
    const [sig, msg, key] = [hexToBytes(r.sig), hexToBytes(r.message), hexToBytes(r.verificationKey)];
    if (F === ed25519_FROST) return { ok: ed25519.verify(sig, msg, key) };
    if (F === schnorr_FROST) return { ok: schnorr.verify(sig, msg, key) };
    return { ok: F.verify(sig, msg, key) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let out;
  try {
    const r = JSON.parse(line);
    out = ops[r.op](suites[r.suite], r);
  } catch (e) {
    out = { error: String(e) };
  }
  process.stdout.write(JSON.stringify(out) + '\n');
}
