package risk

import (
	"errors"
	"fmt"
	"time"

	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/transport"
)

// Config is the file of `coffer risk`.
type Config struct {
	Risk struct {
		Genesis string        `toml:"genesis"` // the cluster's genesis file
		Key     string        `toml:"key"`     // path of the engine's key file (coffer user create)
		Valid   time.Duration `toml:"valid"`   // how long a verdict counts
	} `toml:"risk"`
	Broker transport.ClientConfig `toml:"broker"`
	Checks Checks                 `toml:"checks"`

	Lists     []ListConfig      `toml:"lists"`     // signed files of known bad accounts
	Providers []ProviderConfig  `toml:"providers"` // services that are asked
	Simulate  map[string]string `toml:"simulate"`  // by CAIP-2 chain: its node's address, where requests are tried
}

// Checks says what the engine looks for and how much each finding weighs. A
// weight of 0 switches a check off.
type Checks struct {
	Hold int `toml:"hold"` // a score from here on holds the request
	Deny int `toml:"deny"` // a score from here on denies it

	Bad       []string `toml:"bad"`        // CAIP-10 accounts that nothing may go to
	BadWeight int      `toml:"bad_weight"` //

	NewRecipientWeight int `toml:"new_recipient_weight"` // this wallet never paid it before

	UnusualFactor int `toml:"unusual_factor"` // times the largest amount of this asset so far
	UnusualWeight int `toml:"unusual_weight"` //

	FeeMost   string `toml:"fee_most"`   // a maximum fee above this is out of range: "0.05 ETH"
	FeeLeast  string `toml:"fee_least"`  // and one below this: it will hardly be mined
	FeeWeight int    `toml:"fee_weight"` //

	LookalikeWeight int      `toml:"lookalike_weight"` // a recipient that looks like a known one
	Known           []string `toml:"known"`            // CAIP-10 accounts that count as known, besides those paid before

	VelocityWindow time.Duration `toml:"velocity_window"` // more in this time
	VelocityFactor int           `toml:"velocity_factor"` // than so many times what is usual
	VelocityLeast  int           `toml:"velocity_least"`  // from so many requests on
	VelocityWeight int           `toml:"velocity_weight"` //

	SimulationWeight int           `toml:"simulation_weight"` // the chain's node says that it does more, or fails
	Timeout          time.Duration `toml:"timeout"`           // of a simulation, and of a provider that names none

	UnlimitedWeight int `toml:"unlimited_weight"` // it lets somebody spend tokens without limit
	AllowanceWeight int `toml:"allowance_weight"` // it lets somebody spend the wallet's tokens
	UndecodedWeight int `toml:"undecoded_weight"` // nobody knows what it does
}

// Default is what a configuration file starts from.
func Default() *Config {
	c := new(Config)
	c.Risk.Valid = 24 * time.Hour
	c.Checks = Checks{
		Hold: 500, Deny: 900, BadWeight: 1000, NewRecipientWeight: 100, UnusualFactor: 10, UnusualWeight: 300,
		FeeMost: "0.05 ETH", FeeLeast: "21000 wei", FeeWeight: 200, AllowanceWeight: 150, UndecodedWeight: 600,
		LookalikeWeight: 900, VelocityWindow: time.Hour, VelocityFactor: 10, VelocityLeast: 5, VelocityWeight: 300,
		SimulationWeight: 500, Timeout: 5 * time.Second, UnlimitedWeight: 600,
	}
	return c
}

// LoadConfig reads the file at path and the environment.
func LoadConfig(path string, environ []string) (*Config, error) {
	c := Default()
	if err := config.Load(path, environ, c); err != nil {
		return nil, err
	}
	return c, c.Check()
}

// Check refuses what the engine could not run with.
func (c *Config) Check() error {
	switch {
	case c.Risk.Genesis == "":
		return errors.New("risk.genesis is empty: want the cluster's genesis file")
	case c.Risk.Key == "":
		return errors.New("risk.key is empty: want the path of the engine's key file")
	case c.Risk.Valid < time.Minute:
		return fmt.Errorf("risk.valid is %v: want at least 1m, since people take their time", c.Risk.Valid)
	}
	if err := c.Broker.Check("the engine"); err != nil {
		return err
	}
	return c.Checks.Check()
}

// maxScore is certainty.
const maxScore = 1000

// Check refuses checks that make no sense.
func (c *Checks) Check() error {
	if c.Hold < 1 || c.Hold > c.Deny || c.Deny > maxScore {
		return fmt.Errorf("checks.hold is %d and checks.deny %d: want 1 ≤ hold ≤ deny ≤ %d", c.Hold, c.Deny, maxScore)
	}
	for name, w := range map[string]int{
		"bad_weight": c.BadWeight, "new_recipient_weight": c.NewRecipientWeight, "unusual_weight": c.UnusualWeight,
		"fee_weight": c.FeeWeight, "allowance_weight": c.AllowanceWeight, "undecoded_weight": c.UndecodedWeight,
		"lookalike_weight": c.LookalikeWeight, "velocity_weight": c.VelocityWeight, "simulation_weight": c.SimulationWeight, "unlimited_weight": c.UnlimitedWeight,
	} {
		if w < 0 || w > maxScore {
			return fmt.Errorf("checks.%s is %d: want 0 to %d", name, w, maxScore)
		}
	}
	if c.UnusualWeight > 0 && c.UnusualFactor < 1 {
		return fmt.Errorf("checks.unusual_factor is %d: want 1 or more", c.UnusualFactor)
	}
	if c.VelocityWeight > 0 && (c.VelocityWindow < time.Minute || c.VelocityFactor < 1 || c.VelocityLeast < 2) {
		return fmt.Errorf("checks.velocity_window is %v, velocity_factor %d, velocity_least %d: want at least 1m, 1 and 2", c.VelocityWindow, c.VelocityFactor, c.VelocityLeast)
	}
	if c.Timeout <= 0 || c.Timeout > time.Minute {
		return fmt.Errorf("checks.timeout is %v: want up to 1m", c.Timeout)
	}
	for name, list := range map[string][]string{"bad": c.Bad, "known": c.Known} {
		for i, a := range list {
			if err := family.CheckAccount(a); err != nil {
				return fmt.Errorf("checks.%s[%d]: %w", name, i, err)
			}
		}
	}
	for name, text := range map[string]string{"fee_most": c.FeeMost, "fee_least": c.FeeLeast} {
		if _, err := amount.Parse(text, amount.Ether...); err != nil && c.FeeWeight > 0 {
			return fmt.Errorf("checks.%s: %w", name, err)
		}
	}
	return nil
}
