package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/audit/tiles"
)

// logServeCommand serves log folders as C2SP tiles.
func logServeCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "serve FOLDER…", Short: "Serve logs to C2SP clients over HTTP: checkpoint, tiles, entries (tlog-tiles)",
		Long: `Serves the logs in these folders, each below /vault-N/; a single one at the root, too. A folder is a copy
(coffer log export), or the folder of a node that runs, whose log is followed. What a log holds is said to whoever
asks: it listens on the loopback interface unless told otherwise.`,
		Args: positional(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var views []*tiles.View
			for _, dir := range logFolders(args) {
				v, err := tiles.Open(logFolder(dir))
				if err != nil {
					return err
				}
				defer v.Close()
				views = append(views, v)
			}
			return serveHTTP(cmd.Context(), listen, tiles.Handler(views...), func(url string) {
				for _, v := range views {
					_, keys := v.Head()
					key := "no checkpoint yet"
					if keys.Vault != 0 {
						key = keys.NoteKey()
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s/vault-%d/ %s\n", url, v.Vault(), key)
				}
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9320", "address and port")
	return cmd
}

// logFolder finds the log in a node's folder.
func logFolder(dir string) string {
	inner := filepath.Join(dir, "log")
	if _, err := os.Stat(filepath.Join(dir, logfile.EntriesFile)); err == nil {
		return dir
	}
	if _, err := os.Stat(filepath.Join(inner, logfile.EntriesFile)); err == nil {
		return inner
	}
	return dir
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, listen string, h http.Handler, ready func(url string)) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return &usageError{fmt.Errorf("--listen %q: %w", listen, err)}
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	ready("http://" + l.Addr().String())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// exportTiles writes the logs in these folders as the files that tiles.Handler would
// serve, below dir.
func exportTiles(dirs []string, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("couldn't make the folder for the tiles: %w", err)
	}
	for _, d := range dirs {
		v, err := tiles.Open(d)
		if err != nil {
			return err
		}
		err = v.Export(filepath.Join(dir, fmt.Sprintf("vault-%d", v.Vault())))
		if err := errors.Join(err, v.Close()); err != nil {
			return err
		}
	}
	return nil
}

// exportLogsCommand copies every vault's log, as files of ours or as tiles.
func exportLogsCommand() *cobra.Command {
	var asTiles bool
	cmd := verb("export FOLDER", "Copy every vault's log into a folder", cobra.ExactArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if asTiles {
			dirs, cleanup, err := s.temporaryLogs(ctx)
			if err != nil {
				return err
			}
			defer cleanup()
			if err := exportTiles(dirs, args[0]); err != nil {
				return err
			}
			return s.print(map[string]any{"genesis": s.info.ID, "folder": args[0]}, func(w io.Writer) {
				fmt.Fprintf(w, "wrote %d logs as tiles: any web server can serve %s\n", len(dirs), args[0])
			})
		}
		if err := s.connect(ctx); err != nil {
			return err
		}
		dirs, err := s.api.ExportLogs(ctx, args[0])
		if err != nil {
			return err
		}
		return s.print(map[string]any{"genesis": s.info.ID, "folders": dirs}, func(w io.Writer) {
			fmt.Fprintf(w, "copied %d logs\nnext: coffer log verify --genesis %s", len(dirs), s.info.ID)
			for _, d := range dirs {
				fmt.Fprintf(w, " %s", d)
			}
			fmt.Fprintln(w)
		})
	})
	cmd.Flags().BoolVar(&asTiles, "tiles", false, "write C2SP tiles for a web server, instead of copies for coffer log verify")
	return cmd
}
