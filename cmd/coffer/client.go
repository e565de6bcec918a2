package main

import "github.com/spf13/cobra"

// clientCommands are the verbs of a cluster's users.
func clientCommands() []*cobra.Command { return nil }
