// Package vole is the random vector OLE of DKLs23 (Doerner, Kondi, Lee, shelat,
// eprint 2023/765) with ℓ = 2 and ρ = 2 over the OT extension of package otext,
// as docs/spec/vole.md writes it out byte for byte.
//
// Bob gets a random χ and d_0, d_1; Alice chose a_0, a_1 and gets c_0, c_1 with
// c_w + d_w = a_w·χ mod q.
//
// What it does NOT do: it does not make ErrCheck durable. After ErrCheck the
// caller must quarantine the peer before anything else leaves. It does not know
// whether a dsid was used before: the caller must never repeat one under the
// same base OTs. It does not check that a_0, a_1 belong to anything: the Γ checks
// of DKLs23 do.
//
// Neither side trusts the other: the extension's check (TH) catches Bob, θ, η
// and μ catch Alice.
package vole
