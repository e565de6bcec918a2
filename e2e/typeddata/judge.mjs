// Reads typed data as JSON, one a line; answers what viem and ethers sign for it,
// or the error of either.
import { createInterface } from "node:readline";
import { hashTypedData } from "viem";
import { TypedDataEncoder } from "ethers";

const attempt = (f) => { try { return f(); } catch (e) { return "error: " + String(e.message).slice(0, 200); } };

for await (const line of createInterface({ input: process.stdin })) {
  const v = JSON.parse(line);
  const { EIP712Domain, ...types } = v.types;
  const viem = attempt(() => hashTypedData(v));
  const ethers = attempt(() => {
    if (TypedDataEncoder.getPrimaryType(types) !== v.primaryType) throw new Error("another primary type");
    return TypedDataEncoder.hash(v.domain, types, v.message);
  });
  process.stdout.write(JSON.stringify({ viem, ethers }) + "\n");
}
