package main

import (
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/client"
)

func TestPrintLimits(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	c := client.Counter{Limit: "daily", Asset: "ETH", Used: "3 ETH", Left: "7 ETH", Frees: &at, FreesAmount: "1 ETH"}
	behind := c
	behind.Used, behind.Left = "2 ETH", "8 ETH"
	var out strings.Builder
	printLimits(&out, &client.Limits{
		Limits: []client.Limit{{Name: "daily", Max: "10 ETH"}, {Name: "often", Max: "3 requests"}},
		Vaults: []client.VaultLimits{
			{Vault: 1, Name: "alpha", Counters: []client.Counter{c}}, {Vault: 2, Name: "beta", Counters: []client.Counter{behind}, More: 4},
			{Vault: 3, Name: "gamma", Counters: []client.Counter{c}}, {Vault: 4, Name: "delta", Error: "away"},
		},
	})
	want := `LIMIT  OF  USED     MAX         LEFT        NEXT BACK                         VAULTS
daily      3 ETH    10 ETH      7 ETH       1 ETH at 2026-03-04 05:06:07 UTC  1, 3
daily      2 ETH    10 ETH      8 ETH       1 ETH at 2026-03-04 05:06:07 UTC  2
often      nothing  3 requests  3 requests                                    
vault 2 (beta): 4 more counters are in use, and less full
vault 4 (delta): away
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
