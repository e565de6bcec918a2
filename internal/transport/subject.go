package transport

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// subjects names the subjects of one cluster: "coffer.", the first 8 hex digits
// of the cluster's id, and then
//
//	vault.ID.frame     sealed frames to a vault, from any other vault's node
//	vault.ID.command   commands to a vault (request; the answer is an ack)
//	vault.ID.node      reads of the node itself (request/reply)
//	vault.ID.reply     the vault's replies to commands, to the coordinator
//	vault.ID.event     news of the node
//	risk.screen        questions to the risk engine (request/reply)
//	price.NAME         questions to a price source (request/reply); NAME with - for .
//	inbox.NAME.…       the answers to a user's own requests
type subjects string

func subjectsOf(cluster [32]byte) subjects {
	return subjects("coffer." + hex.EncodeToString(cluster[:4]))
}

func (s subjects) of(vault uint16, leaf string) string {
	return fmt.Sprintf("%s.vault.%d.%s", s, vault, leaf)
}

func (s subjects) risk() string             { return string(s) + ".risk.screen" }
func (s subjects) prices() string           { return string(s) + ".price.*" }
func (s subjects) all(leaf string) string   { return string(s) + ".vault.*." + leaf }
func (s subjects) inbox(user string) string { return string(s) + ".inbox." + user }
func (s subjects) inboxes(u string) string  { return s.inbox(u) + ".>" }

// price is of one source. A name may hold dots, which a subject's token may not.
func (s subjects) price(name string) string {
	return string(s) + ".price." + strings.ReplaceAll(name, ".", "-")
}

const (
	leafFrame   = "frame"
	leafCommand = "command"
	leafNode    = "node"
	leafReply   = "reply"
	leafEvent   = "event"

	coordinatorUser = "coordinator"
	riskUser        = "risk"
	priceUser       = "price"
)
