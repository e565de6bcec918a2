package client

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/request"
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(s) }

func clusterID(c *Cluster) (id [32]byte, err error) { return parseID("cluster", c.ID) }

func parseID(field, s string) (id [32]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 || s != strings.ToLower(s) {
		return id, fmt.Errorf("%s id %.80q: want 64 hex digits in lower case", field, s)
	}
	return [32]byte(b), nil
}

// Lifetime and fee of a draft unless they are set.
const (
	DefaultLifetime = time.Hour
	DefaultMaxFee   = "0.01 ETH"
)

// Draft is a request before its initiator signed it.
type Draft struct {
	request  *request.Request
	cluster  *Cluster
	unsigned []byte // of a chain whose transactions are brought; nil: not yet
}

// NewTransfer drafts a transfer of "0.1 ETH", of wei, or of any asset that the
// cluster's policy names ("25 USDC"), to an address with 0x and 40 hex digits; on
// Solana of "1.5 SOL" or of lamports, to an address in base58.
func NewTransfer(c *Cluster, w *Wallet, chainID, to, text string) (*Draft, error) {
	if chainID == Solana {
		return c.solanaTransfer(w, to, text)
	}
	recipient, err := parseAddress("to", chainID, to)
	if err != nil {
		return nil, err
	}
	asset, value, err := c.parseAmount(chainID, text)
	if err != nil {
		return nil, err
	}
	if asset == evm.NativeAsset(chainID) {
		return c.draft(w, chainID, evm.NewTransfer(recipient, value).Encode())
	}
	token, err := tokenOf(asset)
	if err != nil {
		return nil, err
	}
	return c.draft(w, chainID, evm.NewERC20Transfer(token, recipient, value).Encode())
}

// NewAllowance drafts an approval that lets spender take up to an amount of a
// token.
func NewAllowance(c *Cluster, w *Wallet, chainID, spender, text string) (*Draft, error) {
	who, err := parseAddress("spender", chainID, spender)
	if err != nil {
		return nil, err
	}
	asset, value, err := c.parseAmount(chainID, text)
	if err != nil {
		return nil, err
	}
	token, err := tokenOf(asset)
	if err != nil {
		return nil, err
	}
	return c.draft(w, chainID, evm.NewERC20Approve(token, who, value).Encode())
}

// NewCall drafts a call of a contract with data, and value in "0 ETH" or wei.
func NewCall(c *Cluster, w *Wallet, chainID, to, value string, data []byte) (*Draft, error) {
	at, err := parseAddress("to", chainID, to)
	if err != nil {
		return nil, err
	}
	v, err := amount.Parse(value, amount.Ether...)
	if err != nil {
		return nil, err
	}
	return c.draft(w, chainID, (&evm.Intent{To: &at, Value: v, Data: data}).Encode())
}

// NewRaw drafts a request from a raw unsigned transaction that another tool
// built (0x and hex): its chain, recipient, value and data, and as maximum fee
// what it offers at most. Its nonce and fees are chosen anew at signing. One of
// Solana (a legacy message, or a transaction with its signature empty, in base64)
// is signed as it is.
func NewRaw(c *Cluster, w *Wallet, text string) (*Draft, error) {
	digits, ok := strings.CutPrefix(strings.TrimSpace(text), "0x")
	if !ok {
		return c.solanaRaw(w, digits)
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) == 0 {
		return nil, errors.New("raw transaction: want 0x and an even number of hex digits")
	}
	x, err := evm.FromUnsigned(raw)
	if err != nil {
		return nil, fmt.Errorf("raw transaction: %w", err)
	}
	d, err := c.draft(w, x.Chain, x.Intent.Encode())
	if err != nil {
		return nil, err
	}
	if !x.MaxFee.IsZero() {
		d.request.MaxFee = x.MaxFee
	}
	return d, nil
}

// NewMessage drafts a request for the signature of typed data (EIP-712), in the
// JSON form that wallets take (eth_signTypedData_v4).
func NewMessage(c *Cluster, w *Wallet, typedData []byte) (*Draft, error) {
	m, err := evm.ParseTypedData(typedData)
	if err != nil {
		return nil, fmt.Errorf("typed data: %w", err)
	}
	d, err := c.draft(w, evm.ChainName(m.ChainID), m.Encode())
	if err == nil {
		d.request.MaxFee = chain.Amount{}
	}
	return d, err
}

func parseAddress(field, chainID, s string) (evm.Address, error) {
	// An account in full, with its chain, is welcome too.
	if rest, ok := strings.CutPrefix(s, chainID+":"); ok {
		s = rest
	}
	a, err := evm.ParseAddress(s)
	if err != nil {
		return a, fmt.Errorf("%s: %w", field, err)
	}
	return a, nil
}

func tokenOf(asset string) (evm.Address, error) {
	_, ns, ref, err := chain.ParseAsset(asset)
	if err != nil {
		return evm.Address{}, err
	}
	if ns != "erc20" {
		return evm.Address{}, fmt.Errorf("asset %s is no ERC-20 token", asset)
	}
	return evm.ParseAddress(ref)
}

// parseAmount finds the asset by its symbol among those of the chain.
func (c *Cluster) parseAmount(chainID, text string) (asset string, a chain.Amount, err error) {
	native := evm.NativeAsset(chainID)
	units := append([]amount.Unit(nil), amount.Ether...)
	ids := map[string]string{"eth": native, "gwei": native, "wei": native}
	for _, x := range c.Assets {
		if !strings.HasPrefix(x.ID, chainID+"/") || x.Decimals < 0 || x.Decimals > 77 {
			continue
		}
		if name := strings.ToLower(x.Symbol); ids[name] == "" {
			ids[name] = x.ID
			units = append(units, amount.Unit{Symbol: x.Symbol, Decimals: uint8(x.Decimals)})
		}
	}
	a, err = amount.Parse(text, units...)
	if err != nil {
		return "", a, err
	}
	symbol := strings.ToLower(strings.TrimLeft(strings.TrimSpace(text), "0123456789. "))
	return ids[symbol], a, nil
}

func (c *Cluster) draft(w *Wallet, chainID string, intent []byte) (*Draft, error) {
	now := time.Now()
	q := &request.Request{
		Chain: chainID, Intent: intent, Initiator: "unsigned",
		Created: uint64(now.UnixMilli()), Expires: uint64(now.Add(DefaultLifetime).UnixMilli()),
	}
	var err error
	if q.Cluster, err = clusterID(c); err != nil {
		return nil, err
	}
	if q.Wallet, err = parseID("wallet", w.ID); err != nil {
		return nil, err
	}
	public, err := hex.DecodeString(w.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("wallet %s: public key: %w", w.Name, err)
	}
	codec, err := family.Of(chainID)
	if err != nil {
		return nil, err
	}
	if q.Sender, err = codec.Address(chainID, public); err != nil {
		return nil, fmt.Errorf("wallet %s signs with %s: %w", w.Name, w.Purpose, err)
	}
	fee := DefaultMaxFee
	if chainID == Solana {
		fee = DefaultSolanaMaxFee
	}
	_, units := family.Native(chainID)
	if q.MaxFee, err = amount.Parse(fee, units...); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(rand.Reader, q.Salt[:]); err != nil {
		return nil, err
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	return &Draft{request: q, cluster: c}, nil
}

// SetMaxFee sets the most that fees may be, in ETH, gwei or wei, or in SOL or
// lamport.
func (d *Draft) SetMaxFee(text string) error {
	_, units := family.Native(d.request.Chain)
	a, err := amount.Parse(text, units...)
	if err != nil {
		return fmt.Errorf("max fee: %w", err)
	}
	d.request.MaxFee = a
	return nil
}

// SetLifetime sets how long from now the request may be signed, up to 31 days.
func (d *Draft) SetLifetime(t time.Duration) error {
	old := d.request.Expires
	d.request.Expires = d.request.Created + uint64(max(t, 0).Milliseconds())
	if err := d.request.Check(); err != nil {
		d.request.Expires = old
		return err
	}
	return nil
}

// SetMemo sets a note of at most 256 bytes that people see and sign.
func (d *Draft) SetMemo(text string) error {
	old := d.request.Memo
	d.request.Memo = text
	if err := d.request.Check(); err != nil {
		d.request.Memo = old
		return err
	}
	return nil
}

// SetLife sets the blockhash of a transaction on Solana, which is then brought
// along with the request (Transaction).
func (d *Draft) SetLife(l Lifetime) error {
	dec, err := d.Decoded()
	if err != nil {
		return err
	}
	text, err := dec.Transaction(l)
	if err != nil {
		return err
	}
	d.unsigned, err = decode(text)
	return err
}

// Transaction is what is to be brought along with the request (Client.Bring);
// empty: nothing.
func (d *Draft) Transaction() string { return encode(d.unsigned) }

// Decoded is what the draft says.
func (d *Draft) Decoded() (*Decoded, error) { return decoded(d.request, d.cluster) }
