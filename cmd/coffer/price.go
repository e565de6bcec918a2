package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/price"
)

func priceCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "price --config FILE",
		Short: "Run a price source, which signs what assets are worth",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := price.LoadConfig(path, os.Environ())
			if err != nil {
				return err
			}
			return price.Run(cmd.Context(), c, newLogger(cmd.ErrOrStderr(), "price"))
		},
	}
	configFlag(cmd, &path)
	return cmd
}
