package logfile

import (
	"fmt"
	"os"
	"path/filepath"
)

// Exported is what whoever copied the logs of a cluster that runs knew before the first
// copy was begun. All on which these entries rest stands in the copies; what came later
// may rest on what a copy that was made before it does not have.
type Exported struct {
	Entries uint64 // that this log had by then
	Begun   uint64 // when, unix milliseconds by the copier's clock: the same in all copies
}

const exportFormat = "coffer export 1\n%d entries\nbegun %d\n"

// WriteExported puts it beside a copy.
func WriteExported(dir string, x Exported) error {
	if err := os.WriteFile(filepath.Join(dir, ExportFile), fmt.Appendf(nil, exportFormat, x.Entries, x.Begun), 0o600); err != nil {
		return fmt.Errorf("couldn't write what was known of a log: %w", err)
	}
	return nil
}

// ReadExported reads what stands beside a copy; nil when nothing does.
func ReadExported(dir string) (*Exported, error) {
	b, err := readSmall(dir, ExportFile, maxExportFile)
	if err != nil || b == nil {
		return nil, err
	}
	var x Exported
	if _, err := fmt.Sscanf(string(b), exportFormat, &x.Entries, &x.Begun); err != nil || fmt.Sprintf(exportFormat, x.Entries, x.Begun) != string(b) {
		return nil, fmt.Errorf("%s: want \"coffer export 1\", \"N entries\", \"begun MILLISECONDS\", a line each: %w", filepath.Join(dir, ExportFile), ErrCorrupt)
	}
	return &x, nil
}
