// Makes random transactions with Solana's own client libraries, and runs signed
// ones on its virtual machine. The Go tests beside it (solana_test.go) start it.
//
//   node judge.mjs make N SEED      one JSON object a line: a transaction and what it means
//   node judge.mjs run              a JSON object on stdin: {raw, payer, funds, clones}; prints what became of it
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import * as kit from "@solana/kit";
import * as web3 from "@solana/web3.js";
import { getTransferSolInstruction, getAdvanceNonceAccountInstruction } from "@solana-program/system";
import { getSetComputeUnitLimitInstruction, getSetComputeUnitPriceInstruction } from "@solana-program/compute-budget";
import { getAddMemoInstruction } from "@solana-program/memo";

const MEMO = new web3.PublicKey("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");

// A generator of bytes that depends on the seed alone.
function source(seed) {
  let n = 0, pool = Buffer.alloc(0);
  const bytes = (k) => {
    while (pool.length < k) pool = Buffer.concat([pool, createHash("sha256").update(`${seed}/${n++}`).digest()]);
    const out = pool.subarray(0, k);
    pool = pool.subarray(k);
    return Buffer.from(out);
  };
  return { bytes, below: (k) => bytes(6).readUIntLE(0, 6) % k, u64: () => bytes(8).readBigUInt64LE() };
}

// A transaction as fields. Recipients repeat, and the payer may pay itself.
function draw(r) {
  const address = () => new web3.PublicKey(r.bytes(32)).toBase58();
  const payer = address();
  const known = [payer, address(), address(), address()];
  const tx = { payer, blockhash: address(), transfers: [], memo: "", nonce: null, limit: null, price: null };
  for (let i = 1 + r.below(5); i > 0; i--) {
    const to = r.below(3) ? known[r.below(known.length)] : address();
    tx.transfers.push({ to, lamports: (r.below(2) ? BigInt(r.below(1e10)) : r.u64()).toString() });
  }
  if (r.below(3) === 0) tx.memo = "memo " + r.bytes(r.below(20)).toString("hex");
  if (r.below(3) === 0) tx.nonce = address();
  if (r.below(2) === 0) {
    tx.limit = r.below(2_000_000);
    tx.price = (r.below(2) ? BigInt(r.below(1e6)) : r.u64()).toString();
  }
  return tx;
}

function withKit(tx) {
  const payer = kit.createNoopSigner(kit.address(tx.payer));
  const ins = [];
  if (tx.limit !== null) {
    ins.push(getSetComputeUnitPriceInstruction({ microLamports: BigInt(tx.price) }), getSetComputeUnitLimitInstruction({ units: tx.limit }));
  }
  for (const t of tx.transfers) ins.push(getTransferSolInstruction({ source: payer, destination: kit.address(t.to), amount: BigInt(t.lamports) }));
  if (tx.memo) ins.push(getAddMemoInstruction({ memo: tx.memo }, { programAddress: kit.address(MEMO.toBase58()) }));
  let m = kit.setTransactionMessageFeePayer(kit.address(tx.payer), kit.createTransactionMessage({ version: "legacy" }));
  m = tx.nonce
    ? kit.setTransactionMessageLifetimeUsingDurableNonce({ nonce: tx.blockhash, nonceAccountAddress: kit.address(tx.nonce), nonceAuthorityAddress: kit.address(tx.payer) }, m)
    : kit.setTransactionMessageLifetimeUsingBlockhash({ blockhash: tx.blockhash, lastValidBlockHeight: 1n }, m);
  m = kit.appendTransactionMessageInstructions(ins, m);
  const c = kit.compileTransaction(m);
  return { message: Buffer.from(c.messageBytes).toString("base64"), wire: kit.getBase64EncodedWireTransaction(c) };
}

function withWeb3(tx) {
  const payer = new web3.PublicKey(tx.payer);
  const t = new web3.Transaction({ feePayer: payer, recentBlockhash: tx.blockhash });
  if (tx.nonce) t.add(web3.SystemProgram.nonceAdvance({ noncePubkey: new web3.PublicKey(tx.nonce), authorizedPubkey: payer }));
  if (tx.limit !== null) {
    t.add(web3.ComputeBudgetProgram.setComputeUnitLimit({ units: tx.limit }), web3.ComputeBudgetProgram.setComputeUnitPrice({ microLamports: BigInt(tx.price) }));
  }
  for (const x of tx.transfers) t.add(web3.SystemProgram.transfer({ fromPubkey: payer, toPubkey: new web3.PublicKey(x.to), lamports: BigInt(x.lamports) }));
  if (tx.memo) t.add(new web3.TransactionInstruction({ programId: MEMO, keys: [], data: Buffer.from(tx.memo) }));
  return { message: t.serializeMessage().toString("base64"), wire: t.serialize({ requireAllSignatures: false }).toString("base64") };
}

// The legacy wire form that the Rust clients share with web3.js, as read back by
// web3.js: what Go's decoder accepts must mean the same here.
function read(b64) {
  const m = web3.Message.from(Buffer.from(b64, "base64"));
  return m.accountKeys[0].toBase58();
}

async function run() {
  const { LiteSVM } = await import("litesvm");
  const input = JSON.parse(readFileSync(0, "utf8"));
  const svm = new LiteSVM();
  svm.airdrop(kit.address(input.payer), BigInt(input.funds));
  if (input.want === "blockhash") {
    return { blockhash: svm.latestBlockhash() };
  }
  const before = svm.getBalance(kit.address(input.payer));
  const tx = kit.getTransactionDecoder().decode(Buffer.from(input.raw, "base64"));
  const result = svm.sendTransaction(tx);
  const failed = typeof result.err === "function" ? String(result.err()) : "";
  return {
    failed, logs: (result.logs?.() ?? result.meta?.().logs?.()) ?? [],
    paid: String(before - svm.getBalance(kit.address(input.payer))),
    received: input.to.map((a) => String(svm.getBalance(kit.address(a)) ?? 0n)),
  };
}

const [mode, n, seed] = process.argv.slice(2);
if (mode === "make") {
  const r = source(seed);
  for (let i = 0; i < Number(n); i++) {
    const tx = draw(r);
    const by = i % 2 ? "kit" : "web3.js";
    const made = i % 2 ? withKit(tx) : withWeb3(tx);
    console.log(JSON.stringify({ by, ...tx, ...made, read: read(made.message) }));
  }
} else if (mode === "run") {
  console.log(JSON.stringify(await run()));
} else {
  console.error("usage: judge.mjs make N SEED | run");
  process.exit(2);
}
