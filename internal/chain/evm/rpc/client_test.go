package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// badNode answers eth_chainId well and every other call with answer, in which %d
// is the call's id.
func badNode(t *testing.T, status int, answer string) *Client {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q request
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &q)
		}
		if err != nil {
			t.Errorf("the client sent %q: %v", body, err)
		}
		if q.Method == "eth_chainId" {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%d,"result":"0x1"}`, q.ID)
			return
		}
		if status == http.StatusFound {
			http.Redirect(w, r, "http://127.0.0.1:1/", status)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(answer, "%d", fmt.Sprint(q.ID)))
	}))
	t.Cleanup(s.Close)
	c, err := New(s.URL+"/secret-key", 1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBadAnswers: whatever a node answers is an error that names the call, and
// the URL, which may hold an API key, is in none.
func TestBadAnswers(t *testing.T) {
	good := func(result string) string { return `{"jsonrpc":"2.0","id":%d,"result":` + result + `}` }
	for name, c := range map[string]struct {
		status int
		answer string
		word   string
	}{
		"HTML":             {502, "<html>bad gateway</html>", "HTTP status 502 and not a JSON-RPC answer"},
		"empty":            {200, "", "not a JSON-RPC answer"},
		"oversized":        {200, strings.Repeat(" ", maxAnswer+1), "answer above"},
		"another id":       {200, `{"jsonrpc":"2.0","id":77,"result":"0x1"}`, "answer to another call"},
		"no id":            {200, `{"jsonrpc":"2.0","result":"0x1"}`, "answer to another call"},
		"no result":        {200, `{"jsonrpc":"2.0","id":%d}`, "answer to another call, or to none"},
		"version":          {200, `{"jsonrpc":"1.0","id":%d,"result":"0x1"}`, "not a JSON-RPC answer"},
		"status":           {500, good(`"0x1"`), "HTTP status 500"},
		"redirect":         {302, "", "redirects"},
		"null":             {200, good("null"), `want 0x and 1 to 64 hex digits`},
		"number":           {200, good("1"), "want a string"},
		"decimal":          {200, good(`"12"`), "want 0x"},
		"no digits":        {200, good(`"0x"`), "want 0x"},
		"not hex":          {200, good(`"0xzz"`), "want 0x"},
		"above 256 bits":   {200, good(`"0x1` + strings.Repeat("0", 64) + `"`), "want 0x"},
		"above 64 bits":    {200, good(`"0x10000000000000000"`), "above 64 bits"},
		"trailing":         {200, good(`"0x1"`) + "{}", "not a JSON-RPC answer"},
		"error":            {200, `{"jsonrpc":"2.0","id":%d,"error":{"code":-32000,"message":"no thanks"}}`, "error -32000: no thanks"},
		"error and status": {429, `{"jsonrpc":"2.0","id":null,"error":{"code":429,"message":"slow down"}}`, "error 429: slow down"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := badNode(t, c.status, c.answer).BlockNumber(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.word) || strings.Contains(err.Error(), "secret-key") {
				t.Fatalf("error %v, want one that says %q", err, c.word)
			}
			var answered *Error
			var lost *TransportError
			if isAnswer := strings.HasPrefix(name, "error"); isAnswer != errors.As(err, &answered) {
				t.Errorf("%T: is it the node's answer? want %t", err, isAnswer)
			} else if !isAnswer && name != "above 64 bits" && !errors.As(err, &lost) {
				t.Errorf("%T, want a TransportError", err)
			}
		})
	}
}

func TestUnreachableNode(t *testing.T) {
	c, err := New("http://127.0.0.1:1/secret-key", 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.BlockNumber(t.Context())
	var lost *TransportError
	if !errors.As(err, &lost) || strings.Contains(err.Error(), "secret-key") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v, want a TransportError that names the host alone", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.BlockNumber(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8545", "ftp://x", "http://", "://", "ws://127.0.0.1"} {
		if _, err := New(bad, 1); err == nil {
			t.Errorf("URL %q was accepted", bad)
		}
	}
	if _, err := New("http://127.0.0.1:1", 0); err == nil {
		t.Error("chain id 0 was accepted")
	}
}

// TestSendRawNamesTheSame: a node that takes a transaction under another name has
// another transaction.
func TestSendRawNamesTheSame(t *testing.T) {
	c := badNode(t, 200, `{"jsonrpc":"2.0","id":%d,"result":"0x12"}`)
	if id, err := c.SendRaw(t.Context(), []byte{1}); err == nil || id != "" {
		t.Errorf("%s, %v, want an error", id, err)
	}
	c = badNode(t, 200, `{"jsonrpc":"2.0","id":%d,"result":{"hash":"0x34","transactionHash":"0x34","status":"0x1","blockNumber":"0x1","gasUsed":"0x1"}}`)
	if _, err := c.Transaction(t.Context(), "0x12"); err == nil || !strings.Contains(err.Error(), "want 0x12") {
		t.Errorf("another transaction: %v", err)
	}
	if _, err := c.Receipt(t.Context(), "0x12"); err == nil || !strings.Contains(err.Error(), "want 0x12") {
		t.Errorf("another receipt: %v", err)
	}
	c = badNode(t, 200, `{"jsonrpc":"2.0","id":%d,"result":{"transactionHash":"0x12","blockNumber":"0x1"}}`)
	if r, err := c.Receipt(t.Context(), "0x12"); err == nil {
		t.Errorf("a receipt without a status was taken: %+v", r)
	}
}

func wei(v uint64) chain.Amount { return *uint256.NewInt(v) }

func TestFeesWithin(t *testing.T) {
	f := Fees{Type: evm.TypeDynamicFee, BaseFee: wei(10), TipCap: wei(2), FeeCap: wei(22)}
	for max, want := range map[uint64]uint64{22_000: 22, 21_999: 21, 12_000: 12, 1e9: 22} {
		got, err := f.Within(1000, wei(max))
		if err != nil || got.FeeCap != wei(want) || got.TipCap != f.TipCap {
			t.Errorf("within %d: fee cap %s, %v, want %d", max, got.FeeCap.Dec(), err, want)
		}
	}
	if _, err := f.Within(1000, wei(11_999)); err == nil || !strings.Contains(err.Error(), "asks 12 wei") {
		t.Errorf("a fee below base fee and tip: %v", err)
	}
	legacy := Fees{Type: evm.TypeLegacy, TipCap: wei(22), FeeCap: wei(22)}
	if _, err := legacy.Within(1000, wei(21_999)); err == nil {
		t.Error("a gas price below what the node asks was accepted")
	}
	if _, err := f.Within(0, wei(1)); err == nil {
		t.Error("gas 0 was accepted")
	}
}

func TestFeesReplacement(t *testing.T) {
	f := Fees{Type: evm.TypeDynamicFee, TipCap: wei(1), FeeCap: wei(101)}
	got, err := f.Replacement(Fees{BaseFee: wei(7), TipCap: wei(1), FeeCap: wei(15)})
	if want := (Fees{Type: 2, BaseFee: wei(7), TipCap: wei(2), FeeCap: wei(112)}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	got, err = f.Replacement(Fees{TipCap: wei(9), FeeCap: wei(900)})
	if err != nil || got.TipCap != wei(9) || got.FeeCap != wei(900) {
		t.Errorf("%+v, %v, want what the chain asks now", got, err)
	}
	f.FeeCap = chain.Amount{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
	if got, err := f.Replacement(Fees{}); err == nil {
		t.Errorf("%+v, want an overflow", got)
	}
}

func TestFeeSuggestionOverflow(t *testing.T) {
	huge := "0x" + strings.Repeat("f", 64)
	c := badNode(t, 200, `{"jsonrpc":"2.0","id":%d,"result":{"baseFeePerGas":"`+huge+`"}}`)
	if f, err := c.FeeSuggestion(t.Context()); err == nil {
		t.Errorf("%+v, want an error", f)
	}
	c = badNode(t, 200, `{"jsonrpc":"2.0","id":%d,"result":"`+huge+`"}`)
	if gas, err := c.EstimateGas(t.Context(), evm.Address{}, &evm.Intent{}); err == nil {
		t.Errorf("%d gas, want an error", gas)
	}
}
