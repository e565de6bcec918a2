package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/witness"
)

// witnessCommand runs an outside witness.
func witnessCommand() *cobra.Command {
	var dir, name, listen string
	var logs []string
	cmd := &cobra.Command{
		Use: "witness --dir FOLDER --name NAME --log KEY…", Short: "Run an outside witness: it cosigns logs that only grow (C2SP tlog-witness)",
		Long: `Answers POST /add-checkpoint: a checkpoint of one of the logs named, with proof that it continues the last one that
this witness cosigned, gets its cosignature. The key and what was cosigned last are in the folder; a copy of it must
never be put back. Keys of logs are those that "coffer log serve" prints; take them from the genesis.`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" || name == "" || len(logs) == 0 {
				return &usageError{fmt.Errorf("want --dir, --name and at least one --log")}
			}
			w, err := witness.Open(dir, name, logs)
			if err != nil {
				return err
			}
			return serveHTTP(cmd.Context(), listen, w, func(url string) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", url, w.Cosigner().NoteKey())
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "folder with the witness's key and memory; made when it is not there")
	f.StringVar(&name, "name", "", "the witness's name, such as witness.example/w1")
	f.StringVar(&listen, "listen", "127.0.0.1:9330", "address and port")
	f.StringArrayVar(&logs, "log", nil, "key of a log, NAME+ID+BASE64; may be repeated")
	return cmd
}
