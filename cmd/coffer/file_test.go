package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestKeptFolderHasOneCluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	first, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claim(dir); err == nil || !strings.Contains(err.Error(), "another coffer dev runs in") {
		t.Fatalf("a second cluster in the same folder: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := claim(dir)
	if err != nil {
		t.Fatalf("the first one ended: %v", err)
	}
	again.Close()
}
