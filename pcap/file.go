package pcap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A File is a Writer onto a file that appears only when it is complete.
// Make one with Create and end it with Commit or Abort. Use
//
//	f, err := pcap.Create(path, section)
//	if err != nil {
//		return err
//	}
//	defer f.Abort() // does nothing after Commit
//
// so that a run that fails leaves neither half a capture nor a damaged old
// one.
type File struct {
	*Writer
	f    *os.File
	temp string // name of f; empty if path itself is written
	path string // what temp becomes
	done error  // why the file cannot be used any more
}

// ErrAborted is returned by Commit after Abort.
var ErrAborted = errors.New("pcap: file: aborted")

// Create begins a capture that Commit puts at path. Until then it is a
// hidden file in the same directory, because only within a file system is a
// rename atomic. The permissions are 0644 less the umask, or those of the
// file that is replaced. If path is a symbolic link, the file that it points
// to is replaced.
//
// If path is a pipe or a device, it cannot be replaced: it is written
// directly and without delay, as by SetSync, for Wireshark to read from.
func Create(path string, s Section) (*File, error) {
	f, err := create(path)
	if err != nil {
		return nil, fmt.Errorf("pcap: create: %w", err)
	}
	if f.Writer, err = NewWriter(f.f, s); err == nil && f.temp == "" {
		err = f.SetSync(true)
	}
	if err != nil {
		f.discard()
		return nil, err
	}
	return f, nil
}

// create opens the place to write to.
func create(path string) (*File, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	mode := fs.FileMode(0o644)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory, want a file", path)
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &File{f: f, path: path}, err
	case err == nil:
		mode = info.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	f, err := openTemp(path, mode)
	if err != nil {
		return nil, err
	}
	if info != nil { // exactly the old mode: it has passed a umask already
		if err := f.Chmod(mode); err != nil {
			f.Close()
			os.Remove(f.Name())
			return nil, err
		}
	}
	return &File{f: f, temp: f.Name(), path: path}, nil
}

// openTemp makes a new file beside path. os.CreateTemp would fix the mode to
// 0600, where only the kernel knows the umask.
func openTemp(path string, mode fs.FileMode) (*os.File, error) {
	for n := 0; ; n++ {
		name := fmt.Sprintf(".pcap-%d-%d.tmp", os.Getpid(), n)
		f, err := os.OpenFile(filepath.Join(filepath.Dir(path), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return f, pathError(path, err)
		}
	}
}

// pathError names the file that the caller asked for in an error about a
// temporary one.
func pathError(path string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return &fs.PathError{Op: pe.Op, Path: path, Err: pe.Err}
	}
	return err
}

// Commit writes what is buffered and puts the capture in place. If it fails,
// or any write failed before, the capture is removed and what was at the
// path is left alone. Commit again returns what it returned first, or
// ErrAborted after Abort.
func (f *File) Commit() error {
	if f.done != nil {
		if f.done == ErrClosed {
			return nil
		}
		return f.done
	}
	if err := f.commit(); err != nil {
		f.discard()
		f.done = fmt.Errorf("pcap: commit: %w", err)
		return f.done
	}
	f.done = ErrClosed
	return nil
}

func (f *File) commit() error {
	if err := f.Writer.Close(); err != nil {
		return err
	}
	if f.temp == "" {
		return f.f.Close()
	}
	// Without it, a power failure can leave an empty file in place of the
	// old one. Once per capture it does not matter.
	if err := f.f.Sync(); err != nil {
		return err
	}
	if err := f.f.Close(); err != nil { // Windows renames no open file
		return err
	}
	return os.Rename(f.temp, f.path)
}

// Abort removes what was written, unless Commit has been called. Later
// writes fail with ErrClosed. It can be called more than once.
func (f *File) Abort() error {
	if f.done != nil {
		return nil
	}
	f.done = ErrAborted
	f.Writer.err = ErrClosed
	return f.discard()
}

// Close is Abort, for code that closes what it opens. It keeps the capture
// only if Commit came first.
func (f *File) Close() error { return f.Abort() }

// discard closes and removes the temporary file. Closing twice is harmless.
func (f *File) discard() error {
	err := f.f.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	if f.temp == "" {
		return err
	}
	return errors.Join(err, os.Remove(f.temp))
}
