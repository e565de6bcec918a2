//go:build !purego

package vaultshell

const pureGo = false
