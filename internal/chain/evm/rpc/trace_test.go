package rpc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm"
)

// scripted answers each method with a result, or an error "CODE text"; the methods
// that it has not are not found.
func scripted(t *testing.T, answers map[string]string) (*Client, map[string]int) {
	t.Helper()
	asked := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q request
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		asked[q.Method]++
		answer, ok := answers[q.Method]
		if q.Method == "eth_chainId" {
			answer, ok = `"0x1"`, true
		}
		if !ok {
			answer = "-32601 the method does not exist"
		}
		if code, text, found := strings.Cut(answer, " "); found && strings.HasPrefix(code, "-") {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%d,"error":{"code":%s,"message":%q}}`, q.ID, code, text)
			return
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%d,"result":%s}`, q.ID, answer)
	}))
	t.Cleanup(s.Close)
	c, err := New(s.URL, 1)
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

const (
	me, you, fresh = "0x0900000000000000000000000000000000000000", "0x0100000000000000000000000000000000000000", "0x0700000000000000000000000000000000000000"

	simulated = `[{"calls":[{"status":"0x1","logs":[]}]}]`
)

// TestTraceInstead: a node without eth_simulateV1, or none for this intent, is asked to
// trace; what it refuses for another reason is not asked again.
func TestTraceInstead(t *testing.T) {
	create, call := `{"type":"CREATE","from":"`+me+`","to":"`+fresh+`","value":"0x5"}`, `{"type":"CALL","from":"`+me+`","to":"`+you+`","value":"0x5"}`
	from, to := evm.Address{9}, evm.Address{1}
	creation, payment := &evm.Intent{Data: []byte{0}}, &evm.Intent{To: &to}
	for name, c := range map[string]struct {
		in          *evm.Intent
		simulate    string
		trace       string
		moves       int
		failed, err string
		noTrace     bool
	}{
		"it simulates":              {in: creation, simulate: simulated, trace: create, noTrace: true},
		"it reverts":                {in: creation, simulate: `[{"calls":[{"status":"0x0","logs":[],"error":{"message":"no"}}]}]`, failed: "no", noTrace: true},
		"no such method":            {in: creation, trace: create, moves: 1},
		"no creations":              {in: creation, simulate: "-32602 missing keys: to", trace: create, moves: 1},
		"method is not served":      {in: payment, simulate: "-32004 not supported", trace: call, moves: 1},
		"no balance":                {in: creation, simulate: "-32003 insufficient funds", trace: create, err: "insufficient funds", noTrace: true},
		"neither":                   {in: creation, err: "neither simulate nor trace"},
		"a call, asked: a creation": {in: creation, trace: call, err: `"CALL"`},
		"a creation, asked: a call": {in: payment, trace: create, err: `"CREATE"`},
		"another sender":            {in: payment, trace: strings.Replace(call, me, fresh, 1), err: "of 0x07"},
		"nothing":                   {in: payment, trace: "null", err: `""`},
		"it fails":                  {in: payment, trace: `{"type":"CALL","from":"` + me + `","to":"` + you + `","value":"0x5","error":"execution reverted","revertReason":"no"}`, failed: "execution reverted: no"},
		"a creation fails":          {in: creation, trace: `{"type":"CREATE","from":"` + me + `","value":"0x5","error":"execution reverted"}`, failed: "execution reverted"},
		"an unknown kind of call":   {in: payment, trace: strings.Replace(call, "}", `,"calls":[{"type":"EXTCALL","from":"`+me+`","to":"`+you+`"}]}`, 1), err: "EXTCALL"},
		"value to nobody":           {in: creation, trace: `{"type":"CREATE","from":"` + me + `","value":"0x5"}`, err: "to nobody"},
	} {
		answers := map[string]string{}
		if c.simulate != "" {
			answers["eth_simulateV1"] = c.simulate
		}
		if c.trace != "" {
			answers["debug_traceCall"] = c.trace
		}
		client, asked := scripted(t, answers)
		s, err := client.Simulate(t.Context(), from, c.in)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %+v, %v; want %s", name, s, err, c.err)
			}
		case err != nil || s.Failed != c.failed || len(s.Moves) != c.moves:
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if c.noTrace && asked["debug_traceCall"] != 0 {
			t.Errorf("%s: it was traced too", name)
		}
	}
}

// TestTraceMoves: what calls within calls move, but for those that failed and those that
// only lend code.
func TestTraceMoves(t *testing.T) {
	log := `{"address":"` + fresh + `","topics":["` + topicTransfer + `","0x` + strings.Repeat("0", 24) + me[2:] + `","0x` + strings.Repeat("0", 24) + you[2:] + `"],"data":"0x` + strings.Repeat("0", 63) + `6"}`
	frame := func(kind, value, rest string) string {
		return `{"type":"` + kind + `","from":"` + fresh + `","to":"` + you + `","value":"` + value + `"` + rest + `}`
	}
	client, _ := scripted(t, map[string]string{"debug_traceCall": `{"type":"CREATE","from":"` + me + `","to":"` + fresh + `","value":"0x5","calls":[` + strings.Join([]string{
		frame("CALL", "0x1", `,"calls":[`+frame("CREATE2", "0x2", "")+`,`+frame("CALL", "0x0", "")+`]`),
		frame("CALL", "0x3", `,"error":"out of gas","logs":[`+log+`],"calls":[`+frame("CALL", "0x4", "")+`]`),
		frame("DELEGATECALL", "0x5", `,"logs":[`+log+`]`), frame("CALLCODE", "0x6", ""), frame("STATICCALL", "0x0", ""), frame("SELFDESTRUCT", "0x7", ""),
	}, ",") + `]}`})
	s, err := client.Simulate(t.Context(), evm.Address{9}, &evm.Intent{Data: []byte{0}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range s.Moves {
		_, asset, _ := strings.Cut(m.Asset, "/")
		got = append(got, m.Amount.Dec()+" "+asset[:5])
	}
	if want := "[5 slip4 1 slip4 2 slip4 6 erc20 7 slip4]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}
