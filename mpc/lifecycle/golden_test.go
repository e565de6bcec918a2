package lifecycle_test

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// vector is a whole refresh, reshare or repair; docs/spec/lifecycle.md says how to
// reproduce it.
type vector struct {
	Kind           string                              `json:"kind"`
	Suite          string                              `json:"suite"`
	Randomness     string                              `json:"randomness"`
	Label          string                              `json:"label"`
	AttemptID      mpctest.Hex                         `json:"attempt_id"`
	OldCertificate mpctest.Hex                         `json:"old_certificate"`
	OldShares      map[mpc.ID]mpctest.Hex              `json:"old_key_shares"`
	Dealers        []mpc.ID                            `json:"dealers_or_helpers"`
	Parties        []mpc.ID                            `json:"new_parties_or_lost"`
	Threshold      int                                 `json:"new_threshold"`
	SessionSeeds   map[mpc.ID]mpctest.Hex              `json:"session_key_seeds_ed25519"`
	SID            mpctest.Hex                         `json:"sid"`
	Broadcast      []map[mpc.ID]mpctest.Hex            `json:"broadcast_by_round_and_author"`
	Private        []map[mpc.ID]map[mpc.ID]mpctest.Hex `json:"private_by_author_and_recipient"`
	Certificate    mpctest.Hex                         `json:"certificate_unsigned"`
	Shares         map[mpc.ID]mpctest.Hex              `json:"key_shares"`
	Proof          mpctest.Hex                         `json:"proof_of_the_first_share_for_the_certificate"`
}

const randomness = `participant i reads SHAKE256("coffer/test/" || label || "/" || i), i in decimal; the proof reads label || "/proof"`

func newVector(kind string, k key, label string, participants []mpc.ID) *vector {
	v := &vector{
		Kind: kind, Suite: string(k.cert.Suite), Randomness: randomness, Label: label,
		OldCertificate: k.cert.Encode(), OldShares: make(map[mpc.ID]mpctest.Hex),
		SessionSeeds: make(map[mpc.ID]mpctest.Hex), Shares: make(map[mpc.ID]mpctest.Hex),
	}
	for id, s := range k.shares {
		v.OldShares[id] = s.Encode()
	}
	for _, id := range participants {
		v.SessionSeeds[id] = mpctest.Key("session", id).Seed()
	}
	return v
}

func TestGolden(t *testing.T) {
	for _, suite := range []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTEd25519} {
		k := newKey(t, suite, "golden/lifecycle", mpctest.IDs(3), 2)
		for name, plan := range map[string]*mpctest.LifePlan{
			"refresh": k.refresh(),
			"reshare": k.reshare(ids(2, 3), ids(1, 2, 400), 3),
		} {
			label := "golden/" + name
			l := start(t, label, plan, 3)
			v := newVector(name, k, label, l.Participants)
			cfg := plan.Config(2)
			v.AttemptID, v.Dealers, v.Parties, v.Threshold = cfg.AttemptID[:], plan.Dealers, plan.Parties, plan.Threshold
			sid := l.Sessions[2].SID()
			v.SID = sid[:]
			for r := range l.Broadcast {
				v.Broadcast = append(v.Broadcast, mpctest.HexMap(l.Broadcast[r]))
			}
			v.Private = append(v.Private, mpctest.HexPrivate(l.Private))
			for _, id := range l.Participants {
				out, err := l.Finish(id)
				if err != nil {
					t.Fatal(err)
				}
				v.Certificate = out.Certificate.Encode()
				if out.Share != nil {
					v.Shares[id] = out.Share.Encode()
				}
				if id == 1 {
					if v.Proof, err = lifecycle.ProveShare(out.Share, out.Certificate.Digest(), mpctest.Reader("%s/proof", label)); err != nil {
						t.Fatal(err)
					}
				}
			}
			mpctest.Golden(t, file(suite, name), v)
		}
		p := startRepair(t, k.repair(2, 1, 3), 3)
		v := newVector("repair", k, "repair", p.Participants)
		v.AttemptID = append(v.AttemptID, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		v.Dealers, v.Parties, v.Threshold = ids(1, 3), ids(2), 2
		sid := p.Sessions[2].SID()
		v.SID = sid[:]
		for r := range p.Broadcast {
			v.Broadcast = append(v.Broadcast, mpctest.HexMap(p.Broadcast[r]))
			v.Private = append(v.Private, mpctest.HexPrivate(p.Private[r]))
		}
		share, err := p.Finish()
		if err != nil {
			t.Fatal(err)
		}
		v.Shares[2] = share.Encode()
		mpctest.Golden(t, file(suite, "repair"), v)
	}
}

func file(suite mpc.Suite, kind string) string {
	return "testdata/" + string(suite) + "-" + kind + ".json"
}
