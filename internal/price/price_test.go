package price

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

const eth, usdc = "eip155:1/slip44:60", "eip155:1/erc20:0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"

func newConfig(t *testing.T, url string) *Config {
	t.Helper()
	c := Default()
	c.Price.Genesis, c.Price.Key, c.Broker.URL, c.Broker.Credentials = "genesis", "key", "nats://127.0.0.1:1", "file:seed"
	c.Price.File = filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(c.Price.File, []byte(`{"`+usdc+`": "1.0005"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Assets = []Asset{{Asset: eth, URL: url, Field: "data.amount"}, {Asset: usdc}}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) *keyfile.Key {
	t.Helper()
	k, err := keyfile.New(rand.Reader, "ticker")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestQuote(t *testing.T) {
	answer, asked := `{"data": {"amount": 2500.123456789012345, "base": "ETH"}}`, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if answer == "redirect" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		if answer == "" {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer srv.Close()
	k := newKey(t)
	s, err := New(k, newConfig(t, srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	now := time.UnixMilli(1_790_000_000_000)
	q, err := s.Quote(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	back, err := request.DecodePriceQuote(q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if err := signature.Verify(k.Public(), back.Statement(), back.Signature); err != nil {
		t.Error(err)
	}
	for asset, want := range map[string]string{eth: "2500123456789012345", usdc: "1000500000000000"} {
		if p, ok := back.Price(asset); !ok || p.Dec() != want {
			t.Errorf("%s costs %s, want %s", asset, p.Dec(), want)
		}
	}
	if back.Source != "ticker" || back.Currency != "USD" || back.Time != uint64(now.UnixMilli()) || back.Expires != back.Time+120_000 {
		t.Errorf("%+v", back)
	}
	// Within ten seconds the same quote, then another.
	if again, err := s.Quote(t.Context(), now.Add(9*time.Second)); err != nil || again != q || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	if _, err := s.Quote(t.Context(), now.Add(10*time.Second)); err != nil || asked != 2 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	later := now
	for bad, want := range map[string]string{
		"": "502", "redirect": "redirects", "{": "no JSON object", `{"data": 7}`: "no JSON object", `{"data": {}}`: `no field "amount"`,
		`{"data": {"amount": true}}`: "neither a number", `{"data": {"amount": "2,500"}}`: "is no price", `{"data": {"amount": -1}}`: "is no price",
		`{"data": {"amount": 1e3}}`: "is no price", `{"data": {"amount": 0}}`: "above 0", `{"data": {"amount": "0.0000000000000001"}}`: "16 decimals, at most 15",
		strings.Repeat(" ", maxAnswer+1): "more than",
	} {
		answer, later = bad, later.Add(time.Minute)
		if q, err := s.Quote(t.Context(), later); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, %v, want %s", bad, q, err, want)
		}
	}
}

func TestParsePrice(t *testing.T) {
	for s, want := range map[string]string{
		"1": "1000000000000000", "0.000000000000001": "1", "2500.50": "2500500000000000000", "1.0000000000000000000": "1000000000000000", "007": "7000000000000000",
	} {
		if p, err := ParsePrice(s); err != nil || p.Dec() != want {
			t.Errorf("%s is %s, %v, want %s", s, p.Dec(), err, want)
		}
	}
	for _, s := range []string{"", ".", "1.", ".5", "+1", "-1", "1e3", "1 ", "0x1", "1_000", "NaN", "0", "0.0", strings.Repeat("9", 70), strings.Repeat("1", 81)} {
		if p, err := ParsePrice(s); err == nil {
			t.Errorf("%q is %s", s, p.Dec())
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"price.genesis is empty":      func(c *Config) { c.Price.Genesis = "" },
		"price.key is empty":          func(c *Config) { c.Price.Key = "" },
		"price.valid is 1s":           func(c *Config) { c.Price.Valid = time.Second },
		"price.every is 2m0s":         func(c *Config) { c.Price.Every = 2 * time.Minute },
		"price.timeout is 0s":         func(c *Config) { c.Price.Timeout = 0 },
		"broker.url is empty":         func(c *Config) { c.Broker.URL = "" },
		"broker.credentials is empty": func(c *Config) { c.Broker.Credentials = "" },
		"price.currency":              func(c *Config) { c.Price.Currency = "usd" },
		"assets: 0":                   func(c *Config) { c.Assets = nil },
		"assets[0].asset":             func(c *Config) { c.Assets[0].Asset = "ETH" },
		"stands here twice":           func(c *Config) { c.Assets[1].Asset = eth },
		"no url, and no price.file":   func(c *Config) { c.Price.File = "" },
		"url and field together":      func(c *Config) { c.Assets[0].Field = "" },
		"want https":                  func(c *Config) { c.Assets[0].URL = "http://prices.example/" },
		"without a password":          func(c *Config) { c.Assets[0].URL = "https://a:b@prices.example/" },
	} {
		c := newConfig(t, "https://prices.example/eth")
		change(c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
