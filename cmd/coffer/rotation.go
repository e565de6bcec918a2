package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/internal/vaultshell"
)

// vouched says who vouches for a vault's new card. Beside the card of a device that
// replaces one which still works lies that one's signature; a signature that does not
// verify is an error, and none is for people to judge.
func vouched(path string, card []byte, inForce *client.Card) (string, error) {
	b, err := readFile(path + vaultshell.RotationSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("nobody but the new device vouches for this card: compare its identity with the vault's operator (the device in force has not signed for it in %s%s)", path, vaultshell.RotationSuffix), nil
	}
	if err != nil {
		return "", err
	}
	if err := checkRotation(b, card, inForce); err != nil {
		return "", fmt.Errorf("%s%s: %w; for a device that is lost, remove the file", path, vaultshell.RotationSuffix, err)
	}
	return "the device in force has signed for the new one", nil
}

func checkRotation(b, card []byte, inForce *client.Card) error {
	x, err := vault.DecodeRotation(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(x.Card.Encode(), card) {
		return errors.New("it is the signature on another card")
	}
	old := governance.Vault{ID: uint16(inForce.ID), Name: inForce.Name}
	if old.Identity, err = signature.ParseText(inForce.Identity); err != nil {
		return fmt.Errorf("identity of vault %d: %w", inForce.ID, err)
	}
	if old.Log, err = signature.ParseText(inForce.Log); err != nil {
		return fmt.Errorf("log key of vault %d: %w", inForce.ID, err)
	}
	return x.Verify(&old)
}

// printVouched tells people who vouches, before they sign.
func (s *session) printVouched(text string) {
	if !s.json {
		fmt.Fprintln(os.Stderr, "card: "+text)
	}
}
