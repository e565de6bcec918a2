package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
)

// thief is the address to which the dishonest coordinator wants the money.
const thief = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"

// papers is what people hand to the coordinator for one request.
type papers struct {
	Request, Key, Signature string
	Approvals               []string
}

// result is what the attacker's program reports.
type result struct {
	Name, Attempt string
	Answers       []struct {
		Vault                uint16
		Outcome, Code, Rule  string
		Detail, Fix, Failed  string
		Certified, HasOutput bool
	}
}

func (d *demo) attack(ctx context.Context) error {
	d.say("a separate program gets the coordinator's broker credentials and the people's signed messages:")
	d.say("3 ETH from bot to %s, approved by bob and carol; and 9 ETH that nobody approved", recipient)
	approved, err := d.papers(recipient, "3 ETH", "bob", "carol")
	if err != nil {
		return err
	}
	race, err := d.papers(recipient, "4 ETH", "bob", "dave")
	if err != nil {
		return err
	}
	unapproved, err := d.papers(thief, "9 ETH")
	if err != nil {
		return err
	}
	nonce, err := d.cluster.Node.PendingNonce(ctx, d.account())
	if err != nil {
		return err
	}
	results, err := d.runAttacker(ctx, map[string]any{
		"Genesis": filepath.Join(d.dir, "genesis"), "Broker": d.cluster.Broker, "Credentials": "file:" + filepath.Join(d.dir, "coordinator.seed"),
		"Own": thief, "Nonce": nonce, "Approved": approved, "Race": race, "Unapproved": unapproved,
	})
	if err != nil {
		return err
	}
	logged, err := d.loggedDecisions(ctx)
	if err != nil {
		return err
	}
	words := map[string]string{
		"recipient":    "another recipient in the transaction than people approved",
		"amount":       "ten times the amount",
		"rewritten":    "another recipient in the request itself, with the old signatures put under it",
		"replay":       "",
		"relabelled":   "those approvals relabelled for the other request",
		"second-nonce": "a second subset (2 and 3) asked for the same payment under a second nonce",
		"third-nonce":  "a third subset (1 and 3) asked under a third nonce",
	}
	var races []result
	for _, r := range results {
		if r.Name == "race" {
			races = append(races, r)
			continue
		}
		if r.Name == "honest" {
			d.check("the approved payment as it is, asked for with the same credentials, is signed: the attacks do reach the vaults", bothSigned(&r))
			continue
		}
		if r.Name == "replay" {
			d.check("approvals of one request shown for another: no vault takes them even for a bundle ("+r.Answers[0].Detail+")", bothRefused(&r))
			continue
		}
		d.checkAttack(&r, words[r.Name], logged)
	}
	if len(results) != len(words)+1+len(races) || len(races) != 2 {
		return fmt.Errorf("the attacker reports %d attacks, want %d", len(results), len(words)+3)
	}
	d.checkRace(races, logged)
	have, err := d.balance(ctx, thief)
	if err == nil && !have.IsZero() {
		err = fmt.Errorf("it has %s wei", have.Dec())
	}
	d.check("the thief's address has nothing", err)
	return nil
}

// papers are signed by people as for any coordinator.
func (d *demo) papers(to, text string, approvers ...string) (*papers, error) {
	p, err := d.sign("bot", to, text)
	if err != nil {
		return nil, err
	}
	dec, err := client.Decode(p.Request, d.info)
	if err != nil {
		return nil, err
	}
	out := &papers{Request: p.Request, Key: p.Key, Signature: p.Signature}
	for _, who := range approvers {
		a, err := d.cluster.Person(who).Approve(dec, true, 0)
		if err != nil {
			return nil, err
		}
		out.Approvals = append(out.Approvals, a)
	}
	return out, nil
}

func (d *demo) runAttacker(ctx context.Context, order map[string]any) ([]result, error) {
	b, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "attacker"))
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr, cmd.Dir = bytes.NewReader(b), &stderr, d.dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the attacker's program: %w: %s", err, stderr.Bytes())
	}
	var results []result
	return results, json.Unmarshal(out, &results)
}

func bothSigned(r *result) error {
	for _, a := range r.Answers {
		if a.Outcome != "done" || !a.HasOutput || !a.Certified {
			return fmt.Errorf("vault %d answers %s %s %s%s", a.Vault, a.Outcome, a.Code, a.Detail, a.Failed)
		}
	}
	return nil
}

func bothRefused(r *result) error {
	for _, a := range r.Answers {
		if a.Outcome != "refused" || a.HasOutput {
			return fmt.Errorf("vault %d answers %s %s %s%s", a.Vault, a.Outcome, a.Code, a.Detail, a.Failed)
		}
	}
	return nil
}

// checkAttack: no vault gave anything, at least one refused, and each refusal is
// in that vault's log and signed for by its HSM.
func (d *demo) checkAttack(r *result, words string, logged map[string][]uint16) {
	var err error
	why, refused := "", 0
	for _, a := range r.Answers {
		switch {
		case a.HasOutput || a.Outcome == "done":
			err = errors.Join(err, fmt.Errorf("vault %d gave its share", a.Vault))
		case a.Outcome != "refused":
		case !a.Certified:
			err = errors.Join(err, fmt.Errorf("vault %d refuses without a certificate", a.Vault))
		case !slices.Contains(logged[r.Attempt], a.Vault):
			err = errors.Join(err, fmt.Errorf("the refusal is not in the log of vault %d", a.Vault))
		default:
			refused++
			if why == "" {
				why = fmt.Sprintf("vault %d: %s: %s", a.Vault, or(a.Rule, a.Code), a.Detail)
			}
		}
	}
	if refused == 0 && err == nil {
		err = fmt.Errorf("no vault refused: %v", r.Answers)
	}
	d.check(fmt.Sprintf("%s: refused and logged (%s)", words, why), err)
}

// checkRace: of two versions of one payment, asked for at the same moment of two
// subsets, no two may be signed.
func (d *demo) checkRace(races []result, logged map[string][]uint16) {
	var err error
	signed, refused, why := 0, 0, ""
	for _, r := range races {
		done := 0
		for _, a := range r.Answers {
			switch {
			case a.HasOutput && a.Outcome == "done":
				done++
			case a.Outcome == "refused" && slices.Contains(logged[r.Attempt], a.Vault):
				refused++
				why = fmt.Sprintf("vault %d: %s", a.Vault, a.Code)
			}
		}
		if done > 0 {
			signed++
		}
	}
	switch {
	case signed > 1:
		err = errors.New("both were signed")
	case refused == 0:
		err = errors.New("no vault refused, or none logged it")
	}
	d.check(fmt.Sprintf("two subsets asked for two nonces of another payment at the same moment: %d of 2 signed, the other refused and logged (%s)", signed, why), err)
}

// loggedDecisions lists by attempt the vaults whose logs hold a refusal of it.
func (d *demo) loggedDecisions(ctx context.Context) (map[string][]uint16, error) {
	dirs, err := copyLogs(ctx, d.client, d.info.Vaults, filepath.Join(d.dir, "logs-after-attack"))
	if err != nil {
		return nil, err
	}
	out := map[string][]uint16{}
	for _, dir := range dirs {
		c, err := logfile.Read(dir)
		if err != nil {
			return nil, err
		}
		for _, b := range c.Entries {
			e, err := audit.DecodeEntry(b)
			if err != nil {
				return nil, err
			}
			if e.Kind != audit.KindDecision {
				continue
			}
			dec, err := audit.DecodeDecision(e.Body)
			if err != nil {
				return nil, err
			}
			if id := hex.EncodeToString(dec.Attempt[:]); !dec.Allow {
				out[id] = append(out[id], c.Header.Vault)
			}
		}
	}
	return out, nil
}
