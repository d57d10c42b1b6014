package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/podwire/podwire/bench/faceoff"
	"github.com/podwire/podwire/bench/report"
)

// A reportFile is the page that --report names. It appears when it is whole: a
// comparison takes minutes, and what was there stays until there is better. The
// zero value is no file.
type reportFile struct {
	path string
	temp *os.File
}

// newReportFile makes sure, before anything is measured, that the page can be
// written.
func newReportFile(path string) (*reportFile, error) {
	f := &reportFile{path: path}
	if path == "" {
		return f, nil
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		f.path = target
	}
	info, err := os.Stat(f.path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("--report: %s is %s, want a file", path, kindOf(info.Mode()))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("--report: %w", err)
	}
	f.temp, err = os.OpenFile(fmt.Sprintf("%s.tmp%d", f.path, os.Getpid()), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--report: %w", err)
	}
	return f, nil
}

func kindOf(mode fs.FileMode) string {
	if mode.IsDir() {
		return "a directory"
	}
	return "no regular file"
}

// commit writes the page and makes the file appear.
func (f *reportFile) commit(r *faceoff.Result) error {
	if f.temp == nil {
		return nil
	}
	err := errors.Join(report.Write(f.temp, r), f.temp.Close())
	if err == nil {
		err = os.Rename(f.temp.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	return nil
}

// abort leaves nothing behind if commit was not reached.
func (f *reportFile) abort() {
	if f.temp != nil {
		f.temp.Close()
		os.Remove(f.temp.Name())
	}
}
