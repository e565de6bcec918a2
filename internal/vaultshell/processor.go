package vaultshell

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/cpu"
)

// CheckProcessor refuses a machine on which crypto/aes would not run in
// instructions: its portable form reads tables at addresses that depend on what
// it encrypts, and the OT extension encrypts secrets (docs/spec/random-oracle.md).
func CheckProcessor() error {
	return checkProcessor(runtime.GOARCH, hasAES(), pureGo)
}

func hasAES() bool {
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasAES && cpu.X86.HasSSE41 && cpu.X86.HasSSSE3 && cpu.X86.HasPCLMULQDQ
	case "arm64":
		return cpu.ARM64.HasAES
	}
	return false
}

func checkProcessor(arch string, aes, pure bool) error {
	switch {
	case pure:
		return fmt.Errorf("this binary was built with the tag purego, whose AES is not constant time: build it without")
	case !aes:
		return fmt.Errorf("this processor (%s) has no AES instructions that Go uses, so AES would not be constant time: run the vault on amd64 or arm64 with AES, and without GODEBUG=cpu.aes=off", arch)
	}
	return nil
}
