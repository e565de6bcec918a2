package evm

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
)

// vector is what go-ethereum makes of one unsigned transaction; the e2e module
// writes the file and checks that it is current.
type vector struct {
	Name     string `json:"name"`
	Unsigned string `json:"unsigned"`
	Accepted bool   `json:"accepted"`
	Chain    string `json:"chain"`
	Fields   string `json:"fields"`
	Digest   string `json:"digest"`
	Key      string `json:"public_key"`
	Sender   string `json:"sender"`
	R        string `json:"r"`
	S        string `json:"s"`
	YParity  byte   `json:"y_parity"`
	Raw      string `json:"raw"`
	TxID     string `json:"txid"`
}

// TestGoEthereumVectors: acceptance, fields, digest, address, and the assembled
// transaction, as go-ethereum has them.
func TestGoEthereumVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/geth.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			tx, err := DecodeUnsigned(unhex(t, v.Unsigned))
			if (err == nil) != v.Accepted {
				t.Fatalf("decoding gives %v, geth accepts it: %t", err, v.Accepted)
			}
			if err != nil {
				return
			}
			accepted++
			checkVector(t, &v, tx)
		})
	}
	if accepted < 250 || len(vectors)-accepted < 300 {
		t.Errorf("%d vectors, %d of them good: the file has lost some", len(vectors), accepted)
	}
}

func checkVector(t *testing.T, v *vector, tx *Transaction) {
	to, list := "none", ""
	if tx.To != nil {
		to = tx.To.String()
	}
	for _, a := range tx.AccessList {
		list += fmt.Sprintf(" %s %x", a.Address, a.Keys)
	}
	if got := fmt.Sprintf("%d %d %d %s %s %d %s %s %x%s", tx.Type, tx.ChainID, tx.Nonce, tx.TipCap.Dec(), tx.FeeCap.Dec(),
		tx.Gas, to, tx.Value.Dec(), tx.Data, list); got != v.Fields {
		t.Errorf("fields\n%s, want\n%s", got, v.Fields)
	}
	if digest, err := tx.Digest(); err != nil || fmt.Sprintf("%#x", digest) != v.Digest {
		t.Errorf("digest %x, %v, want %s", digest, err, v.Digest)
	}
	if sender, err := (Codec{}).Address(v.Chain, unhex(t, v.Key)); err != nil || sender != v.Sender {
		t.Errorf("address %s, %v, want %s", sender, err, v.Sender)
	}
	sig := chain.Signature{R: [32]byte(unhex(t, v.R)), S: [32]byte(unhex(t, v.S)), RecoveryID: v.YParity}
	raw, txid, err := Codec{}.Assemble(v.Sender, unhex(t, v.Unsigned), []chain.Signature{sig})
	if err != nil || fmt.Sprintf("%x", raw) != v.Raw || txid != v.TxID {
		t.Errorf("assembled %x %s, %v, want %s %s", raw, txid, err, v.Raw, v.TxID)
	}
}

// TestTypedDataVectors: digests as viem and ethers have them; e2e/typeddata writes
// the file.
func TestTypedDataVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/typeddata.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Typed  json.RawMessage `json:"typed_data"`
		Digest string          `json:"digest"`
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 60 {
		t.Errorf("%d vectors: the file has lost some", len(vectors))
	}
	for i, v := range vectors {
		m := typedData(t, string(v.Typed))
		if got := fmt.Sprintf("%#x", keccak256(m.Unsigned())); got != v.Digest {
			t.Errorf("vector %d: digest %s, want %s", i, got, v.Digest)
		}
	}
}
