package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

func (d *demo) deaths(ctx context.Context) error {
	boots, err := d.boots(ctx)
	if err != nil {
		return err
	}
	v1, v2, v3 := d.cluster.Parties[0], d.cluster.Parties[1], d.cluster.Parties[2]
	v3.Kill()
	d.say("%s gets SIGKILL, all its processes at once", v3.Name)
	r, err := d.propose(ctx, "alice", known, "0.2 ETH")
	if err != nil {
		return err
	}
	if r, err = d.confirmed(ctx, r.ID); err == nil {
		err = decidedBy(r, 2)
	}
	d.check("one of three vaults dead: signing goes on with the other two", err)

	v2.Kill()
	d.say("%s gets SIGKILL too", v2.Name)
	if r, err = d.propose(ctx, "alice", known, "0.3 ETH"); err != nil {
		return err
	}
	r, err = d.client.WaitFinal(ctx, r.ID, 3*time.Second)
	if err != nil {
		return err
	}
	err = nil
	if r.Final || r.TxID != "" || !strings.Contains(r.Reason, "waiting") {
		err = fmt.Errorf("it is %s: %s", r.State, r.Reason)
	}
	d.check(fmt.Sprintf("two dead: the request is kept and says why it waits: %q", firstPart(r.Reason)), err)

	before, err := d.balance(ctx, known)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := errors.Join(v2.Start(ctx), v3.Start(ctx)); err != nil {
		return err
	}
	if _, err = d.confirmed(ctx, r.ID); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := d.balance(ctx, known)
	if err == nil {
		err = grew(before, after, eth("0.3 ETH"))
	}
	d.check(fmt.Sprintf("both start again from disk and token, and the waiting request is signed and mined by itself after %s", short(took)), err)
	if err := d.cluster.WaitReady(ctx); err != nil {
		return err
	}
	now, err := d.boots(ctx)
	if err == nil && (now[v1.ID] != boots[v1.ID] || now[v2.ID] != boots[v2.ID]+1 || now[v3.ID] != boots[v3.ID]+1) {
		err = fmt.Errorf("starts were %v and are %v", boots, now)
	}
	d.check("each vault's own count of its starts says who was restarted", err)
	return d.coordinatorDeath(ctx)
}

func firstPart(reason string) string {
	words, _, _ := strings.Cut(reason, " (")
	return words
}

func (d *demo) boots(ctx context.Context) (map[uint16]uint64, error) {
	vaults, err := d.client.Vaults(ctx)
	if err != nil {
		return nil, err
	}
	out := map[uint16]uint64{}
	for _, v := range vaults {
		if !v.Reachable {
			return nil, fmt.Errorf("%s does not answer: %s", v.Name, v.Error)
		}
		out[uint16(v.ID)] = v.Boot
	}
	return out, nil
}

// coordinatorDeath kills the coordinator while a request waits for people.
func (d *demo) coordinatorDeath(ctx context.Context) error {
	r, err := d.propose(ctx, "bot", recipient, "1.5 ETH")
	if err != nil {
		return err
	}
	if r, err = d.client.Wait(ctx, r.ID, settleTimeout); err != nil {
		return err
	}
	if err := d.approve(ctx, r, "bob"); err != nil {
		return err
	}
	d.cluster.Coordinator.Kill()
	if err := d.cluster.StartCoordinator(ctx); err != nil {
		return err
	}
	if err := d.cluster.WaitReady(ctx); err != nil {
		return err
	}
	if err := d.approve(ctx, r, "carol"); err != nil {
		return err
	}
	_, err = d.confirmed(ctx, r.ID)
	d.check("the coordinator, killed between two approvals, carries on where it was", err)
	return nil
}
