package transcript

// The registry. A tag is used at one place in the protocols; adding one means a
// line here and on docs/spec/random-oracle.md.
const (
	// Sessions (docs/spec/dkls23.md, docs/spec/dkg.md).
	TagSID  Tag = "sid"  // session id from all nonces
	TagDSID Tag = "dsid" // directional id of one OT extension
	TagCtx  Tag = "ctx"  // hash of the context
	TagEcho Tag = "echo" // all broadcasts of a round
	TagJob  Tag = "job"  // request hash, message hash and tweak of a signature

	// Distributed key generation.
	TagDKGCommit   Tag = "dkg-com"
	TagDKGProof    Tag = "dkg-pok"
	TagDKGShare    Tag = "dkg-share"   // what the evidence signature covers
	TagDKGSeed     Tag = "dkg-seed"    // commitment to a zero-share seed
	TagDKGFeldman  Tag = "dkg-feldman" // hash of a Feldman vector
	TagDKGRoster   Tag = "dkg-roster"  // hash of the sorted id → identity keys
	TagDKGZero     Tag = "dkg-zero"    // zero-share seed of a pair from both halves
	TagDKGCert     Tag = "dkg-cert"    // success certificate
	TagKeyID       Tag = "key-id"      // key id from the certificate's digest
	TagChainCode   Tag = "cc"          // chain code from all contributions
	TagChainCommit Tag = "cc-com"      // commitment to the chain code, in the certificate

	// Later epochs of a key (docs/spec/lifecycle.md).
	TagLifeJob        Tag = "life-job"         // what a refresh or reshare does
	TagLifeCommit     Tag = "life-com"         // commitment to a dealer's vector
	TagLifeVector     Tag = "life-vector"      // what a dealer signs of its vector
	TagLifeShare      Tag = "life-share"       // what a dealer signs of a share
	TagLifeSeed       Tag = "life-seed"        // commitment to a zero-share seed
	TagLifeZero       Tag = "life-zero"        // zero-share seed of a pair from both halves
	TagLifeReady      Tag = "life-ready"       // challenge of the proof of a share
	TagLifeReadyNonce Tag = "life-ready-nonce" // its nonce, from secret and randomness
	TagRepairJob      Tag = "repair-job"
	TagRepairParts    Tag = "repair-parts" // what a helper signs of its commitments
	TagRepairPart     Tag = "repair-part"  // what a helper signs of a part
	TagRepairSum      Tag = "repair-sum"   // what a helper signs of its answer
	TagImport         Tag = "import"       // session id of an import

	// Pair setup: base OT and its self-test.
	TagPairSID   Tag = "psid"
	TagPairSetup Tag = "pair-setup" // hash of a setup's transcript
	TagBaseOTKey Tag = "bot"
	TagBaseOTH   Tag = "bot-h" // hash to the group, both choices; in a DST
	TagBaseOTS   Tag = "bot-s" // oblivious sampling of the group; in a DST

	// Punctured trees.
	TagGGM      Tag = "ggm"       // key of the node hash
	TagGGMCheck Tag = "ggm-check" // hash of all check values

	// OT extension and random VOLE.
	TagChi    Tag = "chi"
	TagT      Tag = "T"
	TagPRG    Tag = "prg"
	TagPad    Tag = "pad"
	TagPadKey Tag = "pad-key" // cipher keys of the pads
	TagGadget Tag = "gadget"
	TagTheta  Tag = "theta"
	TagMu     Tag = "mu"

	// Signing.
	TagRCommit   Tag = "R-com"
	TagZero      Tag = "zero-share"
	TagRho       Tag = "rho"        // weights of the slots in the check of the products
	TagJobs      Tag = "jobs"       // the jobs of a batch
	TagPresign   Tag = "presign"    // the job of a presigning session
	TagSlot      Tag = "slot"       // the id of one slot of a session of many
	TagPresigID  Tag = "presig-id"  // the id of a presignature
	TagOnline    Tag = "online"     // the id of a signature from a presignature
	TagRerandomR Tag = "rerandom-R" // δ of a presignature V2

	// Handover to the next epoch (docs/spec/handover.md).
	TagHandoverPlan Tag = "handover-plan" // names one attempt
	TagHandoverVote Tag = "handover-vote" // what an identity signs

	// FROST and ROAST.
	TagFROSTJob     Tag = "frost-job" // request hash and jobs of a session
	TagFROSTCommit  Tag = "frost-com" // the commitments of one signer, for the sid
	TagFROSTPackage Tag = "frost-pkg" // what a package is about

	// Derivation (docs/spec/derivation.md).
	TagDerive Tag = "derive" // one step, over Ed25519
)
