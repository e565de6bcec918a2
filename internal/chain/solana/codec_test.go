package solana

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/chain"
)

// The wallet of the tests: RFC 8032 §7.1, test 1.
var (
	key    = ed25519.NewKeyFromSeed(unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
	wallet = Address(key.Public().(ed25519.PublicKey))
	bob    = mustAddress("7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV")
	carol  = mustAddress("5ZWj7a1f8tWkjBESHKgrLmXshuXxqeY9SYcfbshpAqPG")
	hash   = [32]byte(mustAddress("HPSusWXTVLYhSWzf3eaj9tmn6JXWQuGsfwGjUY2EzMWY"))
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func mustAddress(s string) Address {
	a, err := ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func lamports(n uint64) chain.Amount { return *uint256.NewInt(n) }

func payment() *Transaction {
	return &Transaction{Payer: wallet, Blockhash: hash, Intent: *NewTransfer(bob, 1_000_000_000)}
}

func encoded(t testing.TB, tx *Transaction) []byte {
	t.Helper()
	m, err := tx.Message()
	if err != nil {
		t.Fatal(err)
	}
	return m.Encode()
}

// TestGolden pins the bytes of docs/spec/solana.md.
func TestGolden(t *testing.T) {
	in := NewTransfer(bob, 1_000_000_000)
	if got, want := hex.EncodeToString(in.Encode()), "01"+"00000001"+hex.EncodeToString(bob[:])+"000000003b9aca00"+"00000000"; got != want {
		t.Errorf("intent %s, want %s", got, want)
	}
	b := encoded(t, payment())
	want := "010001" + "03" + "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" +
		"0198dedf006fd3198110f6a9f2be6e342b3a7df5e81c92fed4cbb81976b34ef6" + strings.Repeat("00", 32) +
		"f37b1121d8db71771b7087d0ea2bc33439e8fe3a34ef0e3fbd844e5112de7519" + "01" + "0202" + "0001" + "0c" + "02000000" + "00ca9a3b00000000"
	if got := hex.EncodeToString(b); got != want {
		t.Fatalf("message\n%s, want\n%s", got, want)
	}
	p, err := Codec{}.Prepare(Mainnet, Account(wallet), in.Encode(), lamports(5000), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(b)
	if got, want := hex.EncodeToString(digest[:]), "2260feb32ade9daa95650b0a9a1b21cc9b481db0230780eb0ee2abb1796e7d93"; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if d := cmp.Diff(&chain.Prepared{
		Effects: &chain.Effects{
			Chain: Mainnet, Sender: Account(wallet), MaxFee: lamports(5000),
			Transfers: []chain.Transfer{{From: Account(wallet), To: Account(bob), Asset: NativeAsset, Amount: lamports(1_000_000_000)}},
		},
		Canonical: b, Digests: [][32]byte{digest}, Messages: [][]byte{b},
		Slots: []string{Account(wallet) + "/message/" + hex.EncodeToString(digest[:])},
	}, p); d != "" {
		t.Error(d)
	}
	// The worked example's names.
	if got, want := Account(wallet), "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z"; got != want {
		t.Errorf("account %s, want %s", got, want)
	}
}

// made is a transaction by Solana's own libraries (e2e/solana/judge.mjs).
type made struct {
	By, Payer, Blockhash string
	Transfers            []struct {
		To       string
		Lamports json.Number
	}
	Memo          string
	Nonce         *string
	Limit         *uint32
	Price         *json.Number
	Message, Wire []byte
}

func (m *made) transaction(t *testing.T) *Transaction {
	t.Helper()
	tx := &Transaction{Payer: mustAddress(m.Payer), Blockhash: mustAddress(m.Blockhash), Intent: Intent{Memo: m.Memo}}
	for _, x := range m.Transfers {
		tx.Transfers = append(tx.Transfers, Transfer{mustAddress(x.To), uint256.MustFromDecimal(string(x.Lamports)).Uint64()})
	}
	if m.Nonce != nil {
		a := mustAddress(*m.Nonce)
		tx.Nonce = &a
	}
	if m.Limit != nil {
		tx.Budget = &Budget{*m.Limit, uint256.MustFromDecimal(string(*m.Price)).Uint64()}
	}
	return tx
}

func TestClientsMessages(t *testing.T) {
	f, err := os.ReadFile("testdata/clients.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(f) {
		var m made
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		message, tx, err := FromUnsigned(m.Wire)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !bytes.Equal(message, m.Message) {
			t.Fatalf("%s: FromUnsigned finds message %x", line, message)
		}
		if d := cmp.Diff(m.transaction(t), tx); d != "" {
			t.Fatalf("%s: %s", line, d)
		}
		n++
	}
	if n < 60 {
		t.Fatalf("%d vectors, want 60", n)
	}
}

// change edits a message and returns what is wrong with the result.
func changed(t *testing.T, tx *Transaction, edit func(m *Message)) error {
	t.Helper()
	m, err := tx.Message()
	if err != nil {
		t.Fatal(err)
	}
	edit(m)
	_, _, err = FromUnsigned(m.Encode())
	return err
}

func TestReadRefuses(t *testing.T) {
	full := func() *Transaction {
		tx := payment()
		tx.Nonce, tx.Budget, tx.Memo = &carol, &Budget{300, 1_000_000}, "invoice 7"
		return tx
	}
	// full's accounts: wallet, carol, bob; RecentBlockhashes, System, Budget, Memo.
	// Its instructions: advance, limit, price, transfer, memo.
	if err := changed(t, full(), func(*Message) {}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(m *Message)
		want string
	}{
		"another program":         {func(m *Message) { m.Accounts[6] = Address{9} }, "instruction 5: calls program"},
		"transfer of another":     {func(m *Message) { m.Instructions[3].Accounts = []uint8{2, 0} }, "want one from the wallet that signs"},
		"transfer, more accounts": {func(m *Message) { m.Instructions[3].Accounts = []uint8{0, 2, 2} }, "12 bytes and 3 accounts"},
		"transfer, more data":     {func(m *Message) { m.Instructions[3].Data = append(m.Instructions[3].Data, 0) }, "13 bytes and 2 accounts"},
		"other system call":       {func(m *Message) { m.Instructions[3].Data[0] = 0 }, "instruction 0 of the System Program"},
		"system, high byte":       {func(m *Message) { m.Instructions[3].Data[3] = 1 }, "instruction 16777218 of the System Program"},
		"system, short":           {func(m *Message) { m.Instructions[3].Data = []byte{2, 0, 0} }, "data of 3 bytes of the System Program"},
		"nonce later":             {func(m *Message) { slices.Reverse(m.Instructions) }, "by the first instruction only"},
		"nonce, other sysvar":     {func(m *Message) { m.Accounts[3] = Address{9} }, "the recent blockhashes and the wallet"},
		"nonce, no sysvar":        {func(m *Message) { m.Instructions[0].Accounts = []uint8{1, 2, 0}; drop(m, 3); m.ReadOnly-- }, "the recent blockhashes and the wallet"},
		"nonce, data":             {func(m *Message) { m.Instructions[0].Data = append(m.Instructions[0].Data, 0) }, "and no data"},
		"nonce, other authority":  {func(m *Message) { m.Instructions[0].Accounts[2] = 2 }, "the nonce's authority is"},
		"nonce is the wallet":     {func(m *Message) { m.Instructions[0].Accounts[0] = 0; drop(m, 1) }, "the wallet itself"},
		"second limit":            {func(m *Message) { m.Instructions[2].Data = m.Instructions[1].Data }, "a second compute unit limit"},
		"second price":            {func(m *Message) { m.Instructions[1].Data = m.Instructions[2].Data }, "a second compute unit price"},
		"limit alone": {func(m *Message) {
			m.Instructions = slices.Delete(m.Instructions, 2, 3)
		}, "want both or none"},
		"price alone": {func(m *Message) {
			m.Instructions = slices.Delete(m.Instructions, 1, 2)
		}, "want both or none"},
		"heap frame":       {func(m *Message) { m.Instructions[1].Data[0] = 1 }, "data 012c010000 of the Compute Budget"},
		"short price":      {func(m *Message) { m.Instructions[2].Data = m.Instructions[2].Data[:8] }, "of the Compute Budget is not understood"},
		"budget, account":  {func(m *Message) { m.Instructions[1].Accounts = []uint8{0} }, "Compute Budget is called with 1 accounts"},
		"memo, account":    {func(m *Message) { m.Instructions[4].Accounts = []uint8{0} }, "a memo with 1 accounts"},
		"memo, empty":      {func(m *Message) { m.Instructions[4].Data = nil }, "a memo without text"},
		"memo, twice":      {func(m *Message) { m.Instructions = append(m.Instructions, m.Instructions[4]) }, "a second memo"},
		"memo, control":    {func(m *Message) { m.Instructions[4].Data[0] = 0x1b }, "memo: byte 0x1b at 0"},
		"memo, quote":      {func(m *Message) { m.Instructions[4].Data[0] = '"' }, "memo: byte 0x22 at 0"},
		"memo, long":       {func(m *Message) { m.Instructions[4].Data = bytes.Repeat([]byte("x"), 201) }, "memo of 201 characters"},
		"no transfer":      {func(m *Message) { m.Instructions = slices.Delete(m.Instructions, 3, 4); drop(m, 2) }, "0 transfers"},
		"to a program":     {func(m *Message) { m.Instructions[3].Accounts[1] = 6; drop(m, 2) }, "from which nothing comes back"},
		"writable program": {func(m *Message) { m.ReadOnly-- }, "is writable, want it read-only"},
		"read-only payee":  {func(m *Message) { m.ReadOnly++ }, "is read-only, want it writable"},
		"unused account":   {func(m *Message) { m.Accounts = append(m.Accounts, Address{9}); m.ReadOnly++ }, "is used by no instruction"},
		"account twice":    {func(m *Message) { m.Accounts[1] = bob }, "is listed twice"},
		"no such account":  {func(m *Message) { m.Instructions[4].Program = 7 }, "names account 7 of 7"},
		"no such argument": {func(m *Message) { m.Instructions[3].Accounts[1] = 9 }, "names account 9 of 7"},
		"payer read-only":  {func(m *Message) { m.ReadOnly = 7 }, "want the fee payer to be written to"},
	} {
		if err := changed(t, full(), c.edit); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

// drop takes an account out of the list.
func drop(m *Message, i uint8) {
	m.Accounts = slices.Delete(m.Accounts, int(i), int(i)+1)
	for k := range m.Instructions {
		in := &m.Instructions[k]
		if in.Program > i {
			in.Program--
		}
		for j := range in.Accounts {
			if in.Accounts[j] > i {
				in.Accounts[j]--
			}
		}
	}
}

func TestDecodeMessageRefuses(t *testing.T) {
	good := encoded(t, payment())
	edit := func(i int, with ...byte) []byte {
		return append(append(bytes.Clone(good[:i]), with...), good[i+1:]...)
	}
	for n := range good {
		if _, err := DecodeMessage(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(good))
		}
	}
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":           {nil, "it is empty"},
		"v0":              {append([]byte{0x80}, good...), "it is versioned (v0), want a legacy message"},
		"no signer":       {edit(0, 0), "it takes 0 signers"},
		"two signers":     {edit(0, 2), "it takes 2 signers"},
		"read-only payer": {edit(1, 1), "1 of them read-only"},
		"trailing":        {append(bytes.Clone(good), 0), "1 bytes after its end"},
		"long count":      {edit(3, 0x83, 0), "not in its shortest form"},
		"longer count":    {edit(3, 0x83, 0x80, 0), "not in its shortest form"},
		"count, 4 bytes":  {edit(3, 0x83, 0x80, 0x80, 1), "more than 3 bytes"},
		"huge count":      {edit(3, 0xff, 0xff, 3), "65535 of them"},
		"above a packet":  {make([]byte, MaxMessage+1), "at most 1167"},
	} {
		if _, err := DecodeMessage(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	signed := append(append([]byte{1}, bytes.Repeat([]byte{7}, 64)...), good...)
	signed[2] = 0
	if _, _, err := FromUnsigned(signed); err == nil || !strings.Contains(err.Error(), "signed already") {
		t.Errorf("a signed transaction: %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	intent := &Intent{Transfers: []Transfer{{bob, 7}, {carol, 8}}, Memo: "m"}
	good := func() *Transaction {
		return &Transaction{Payer: wallet, Blockhash: hash, Budget: &Budget{1000, 1_000_001}, Intent: Intent{Transfers: slices.Clone(intent.Transfers), Memo: "m"}}
	}
	prepare := func(tx *Transaction, chainName, sender string, fee uint64) error {
		_, err := Codec{}.Prepare(chainName, sender, intent.Encode(), lamports(fee), encoded(t, tx), nil)
		return err
	}
	// 5000 + ⌈1000 · 1.000001⌉
	if err := prepare(good(), Mainnet, Account(wallet), 6001); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(tx *Transaction)
		want string
	}{
		"payer":     {func(tx *Transaction) { tx.Payer = carol; tx.Transfers[1].To = carol }, "pays, want " + wallet.String()},
		"recipient": {func(tx *Transaction) { tx.Transfers[1].To = bob }, "transfer 2 goes to " + bob.String() + ", want " + carol.String()},
		"amount":    {func(tx *Transaction) { tx.Transfers[0].Lamports = 70 }, "transfer 1 is of 70 lamports, want 7"},
		"order":     {func(tx *Transaction) { slices.Reverse(tx.Transfers) }, "transfer 1 goes to"},
		"more":      {func(tx *Transaction) { tx.Transfers = append(tx.Transfers, Transfer{bob, 1}) }, "3 transfers, want 2"},
		"less":      {func(tx *Transaction) { tx.Transfers = tx.Transfers[:1] }, "1 transfers, want 2"},
		"memo":      {func(tx *Transaction) { tx.Memo = "n" }, `the memo is "n", want "m"`},
		"no memo":   {func(tx *Transaction) { tx.Memo = "" }, `the memo is "", want "m"`},
		"fee":       {func(tx *Transaction) { tx.Budget.Price++; tx.Budget.Limit = 2000 }, "fee is 7001 lamports, want at most 6001"},
	} {
		tx := good()
		c.edit(tx)
		if err := prepare(tx, Mainnet, Account(wallet), 6001); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	if err := prepare(good(), Mainnet, Account(wallet), 6000); err == nil || !strings.Contains(err.Error(), "fee is 6001 lamports") {
		t.Errorf("one lamport too much: %v", err)
	}
	devnet := "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
	if err := prepare(good(), devnet, Account(wallet), 6001); err == nil || !strings.Contains(err.Error(), "could be sent on mainnet") {
		t.Errorf("devnet: %v", err)
	}
	if err := prepare(good(), Mainnet, devnet+":"+wallet.String(), 6001); err == nil || !strings.Contains(err.Error(), "could be sent on mainnet") {
		t.Errorf("a sender on devnet: %v", err)
	}
}

func TestFee(t *testing.T) {
	for _, c := range []struct {
		budget *Budget
		want   string
	}{
		{nil, "5000"},
		{&Budget{0, 1 << 60}, "5000"},
		{&Budget{200_000, 0}, "5000"},
		{&Budget{1, 1}, "5001"},
		{&Budget{1000, 1_000_000}, "6000"},
		{&Budget{1000, 1_000_001}, "6001"},
		{&Budget{1_400_001, 1_000_000}, "1405000"}, // cut to 1,400,000
		{&Budget{1<<32 - 1, 1<<64 - 1}, "25825441703193372266260000"},
	} {
		tx := payment()
		tx.Budget = c.budget
		fee := tx.Fee()
		// A second opinion, in big numbers.
		want := lamports(5000)
		if b := c.budget; b != nil {
			x := new(uint256.Int).Mul(uint256.NewInt(b.Price), uint256.NewInt(uint64(min(b.Limit, 1_400_000))))
			x.AddUint64(x, 999_999)
			x.Div(x, uint256.NewInt(1_000_000))
			want.Add(&want, x)
		}
		if fee != want || c.budget != nil && c.budget.Price < 1<<32 && fee.Dec() != c.want {
			t.Errorf("fee of %+v is %s, want %s (%s)", c.budget, fee.Dec(), c.want, want.Dec())
		}
	}
}

// TestSlots: another blockhash is another payment, with a durable nonce too, since
// its value may be a blockhash in truth.
func TestSlots(t *testing.T) {
	slots := func(tx *Transaction) string {
		p, err := Codec{}.Prepare(Mainnet, Account(wallet), tx.Intent.Encode(), lamports(1_000_000), encoded(t, tx), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Slots) != 1 || !strings.HasPrefix(p.Slots[0], Account(wallet)+"/") {
			t.Fatalf("slots %q, want one that begins with the sender", p.Slots)
		}
		return p.Slots[0]
	}
	seen := map[string]bool{}
	for _, edit := range []func(tx *Transaction){
		func(*Transaction) {},
		func(tx *Transaction) { tx.Blockhash[0]++ },
		func(tx *Transaction) { tx.Budget = &Budget{1000, 1} },
		func(tx *Transaction) { tx.Nonce = &carol },
		func(tx *Transaction) { tx.Nonce = &carol; tx.Budget = &Budget{1000, 1} },
	} {
		tx := payment()
		edit(tx)
		s := slots(tx)
		if seen[s] || slots(tx) != s {
			t.Fatalf("slot %s: two messages share it, or one has two", s)
		}
		seen[s] = true
	}
}

func TestAssemble(t *testing.T) {
	b := encoded(t, payment())
	sign := func(key ed25519.PrivateKey, b []byte) (s chain.Signature) {
		sig := ed25519.Sign(key, b)
		copy(s.R[:], sig[:32])
		copy(s.S[:], sig[32:])
		return s
	}
	good := sign(key, b)
	raw, txid, err := Codec{}.Assemble(Account(wallet), b, []chain.Signature{good})
	if err != nil {
		t.Fatal(err)
	}
	sig := good.Bytes()
	if want := append(append([]byte{1}, sig[:]...), b...); !bytes.Equal(raw, want) || txid != encodeBase58(sig[:]) {
		t.Errorf("raw %x, id %s", raw, txid)
	}
	if got, err := base64.StdEncoding.DecodeString(Codec{}.Text(raw)); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("text %q", Codec{}.Text(raw))
	}
	other := ed25519.NewKeyFromSeed(make([]byte, 32))
	high := good
	order := []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	carry := 0
	for i := range high.S { // S + ℓ, which naive verifiers take too
		carry += int(high.S[i]) + int(order[i])
		high.S[i] = byte(carry)
		carry >>= 8
	}
	id := good
	id.RecoveryID = 1
	for name, sigs := range map[string][]chain.Signature{
		"another's": {sign(other, b)}, "of other bytes": {sign(key, b[1:])}, "S above the order": {high},
		"recovery id": {id}, "none": nil, "two": {good, good},
	} {
		if _, _, err := (Codec{}).Assemble(Account(wallet), b, sigs); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, _, err := (Codec{}).Assemble(Account(bob), b, []chain.Signature{good}); err == nil || !strings.Contains(err.Error(), "signs the message, want") {
		t.Errorf("another sender: %v", err)
	}
}

func TestAddress(t *testing.T) {
	got, err := Codec{}.Address(Mainnet, wallet[:])
	if err != nil || got != Account(wallet) {
		t.Errorf("address %s, %v", got, err)
	}
	small := unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05") // order 8
	noncanonical := append(bytes.Repeat([]byte{0xff}, 31), 0x7f)                       // y = 2²⁵⁵−1
	for name, b := range map[string][]byte{"33 bytes": make([]byte, 33), "small order": small, "no point": append([]byte{2}, make([]byte, 31)...), "not canonical": noncanonical} {
		if _, err := (Codec{}).Address(Mainnet, b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, s := range []string{"", "1", strings.Repeat("1", 31), strings.Repeat("1", 33), "1" + wallet.String(), wallet.String() + "1", strings.Repeat("z", 44), "0" + wallet.String()[1:], strings.Repeat("1", 1000)} {
		if _, err := ParseAddress(s); err == nil {
			t.Errorf("address %q: accepted", s)
		}
	}
	if a, err := ParseAccount(Account(wallet)); err != nil || a != wallet {
		t.Errorf("%v, %v", a, err)
	}
	for _, s := range []string{wallet.String(), "eip155:1:" + wallet.String(), Account(wallet) + "2"} {
		if _, err := ParseAccount(s); err == nil {
			t.Errorf("account %q: accepted", s)
		}
	}
}

func TestBase58(t *testing.T) {
	for text, b := range map[string]string{"": "", "1": "00", "2": "01", "z": "39", "21": "3a", "11": "0000", "12": "0001", "StV1DL6CwTryKyV": "68656c6c6f20776f726c64", "1112": "00000001", "5Q": "ff", "5R": "0100"} {
		if got := encodeBase58(unhex(b)); got != text {
			t.Errorf("%s is %q, want %q", b, got, text)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "bytes")
		for i := range min(len(b), rapid.IntRange(0, 5).Draw(t, "zeros")) {
			b[i] = 0
		}
		got := make([]byte, len(b))
		if err := decodeBase58(encodeBase58(b), got); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x gives %x, %v", b, got, err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add(wallet.String())
	f.Add(SystemProgram.String())
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := ParseAddress(s); err == nil && a.String() != s {
			t.Fatalf("accepted %q, which is written %s", s, a)
		}
	})
}

func FuzzDecodeIntent(f *testing.F) {
	f.Add(NewTransfer(bob, 7).Encode())
	f.Add((&Intent{Transfers: []Transfer{{bob, 7}, {carol, 8}}, Memo: "m"}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := DecodeIntent(b)
		if err != nil {
			return
		}
		if !bytes.Equal(in.Encode(), b) {
			t.Fatalf("accepted %x, which encodes as %x", b, in.Encode())
		}
		e := in.effects(wallet, lamports(1))
		if _, err := chain.DecodeEffects(e.Encode()); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzDecodeMessage: what is accepted encodes to the same bytes, and what it means,
// written anew, means the same.
func FuzzDecodeMessage(f *testing.F) {
	f.Add(encoded(f, payment()))
	tx := payment()
	tx.Nonce, tx.Budget, tx.Memo = &carol, &Budget{300, 1_000_000}, "invoice 7"
	tx.Transfers = append(tx.Transfers, Transfer{wallet, 1}, Transfer{carol, 2})
	f.Add(encoded(f, tx))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.Encode(), b) {
			t.Fatalf("accepted %x, which encodes as %x", b, m.Encode())
		}
		tx, err := m.Read()
		if err != nil {
			return
		}
		again, err := tx.Message()
		if err != nil {
			t.Fatal(err)
		}
		back, err := again.Read()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tx, back); d != "" {
			t.Fatal(d)
		}
		transfers := 0
		for i := range m.Instructions { // nothing that moves coins is left out
			if in := m.Instructions[i]; m.Accounts[in.Program] == SystemProgram && binary.LittleEndian.Uint32(in.Data) == 2 {
				transfers++
			}
		}
		if transfers != len(tx.Transfers) {
			t.Fatalf("%d transfers, read %d", transfers, len(tx.Transfers))
		}
	})
}
