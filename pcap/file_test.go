package pcap

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// newFile creates a capture at path with one interface and one packet.
func newFile(t *testing.T, path string) *File {
	t.Helper()
	f, err := Create(path, Section{Comment: "new"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Abort() })
	mustAdd(t, f.Writer, Interface{Name: "eth0"})
	if err := f.WritePacket(&Packet{Time: epoch, Data: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	return f
}

// wantDir checks which files a directory holds.
func wantDir(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("directory holds %q, want %q", got, want)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: got %q (%v), want %q", filepath.Base(path), got, err, want)
	}
}

// oldFile makes a file that a capture is going to replace, or not.
func oldFile(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "a.pcapng")
	if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func TestCommitPutsTheCaptureInPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.pcapng")
	f := newFile(t, path)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before Commit: %v, want no file", err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	wantDir(t, dir, "a.pcapng")
	c, err := ReadFile(path)
	if err != nil || len(c.Packets) != 1 || c.Section.Comment != "new" {
		t.Errorf("got %+v, %v, want the packet", c, err)
	}
	// Afterwards Abort and Close must not take it away again.
	if err := errors.Join(f.Commit(), f.Abort(), f.Close()); err != nil {
		t.Errorf("after Commit: %v, want nil", err)
	}
	wantDir(t, dir, "a.pcapng")
	if err := f.WritePacket(&Packet{Time: epoch}); err != ErrClosed {
		t.Errorf("WritePacket after Commit: got %v, want %v", err, ErrClosed)
	}
}

func TestCommitReplacesAnOldFile(t *testing.T) {
	dir, path := oldFile(t)
	f := newFile(t, path)
	wantFile(t, path, "old")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	wantDir(t, dir, "a.pcapng")
	if c, err := ReadFile(path); err != nil || len(c.Packets) != 1 {
		t.Errorf("got %+v, %v, want the packet", c, err)
	}
	if info, err := os.Stat(path); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o640) {
		t.Errorf("mode %v (%v), want that of the old file, 0640", info.Mode(), err)
	}
}

func TestAbortLeavesTheOldFile(t *testing.T) {
	dir, path := oldFile(t)
	f := newFile(t, path)
	if err := f.Abort(); err != nil {
		t.Fatal(err)
	}
	wantDir(t, dir, "a.pcapng")
	wantFile(t, path, "old")
	if err := f.Abort(); err != nil {
		t.Errorf("second Abort: got %v, want nil", err)
	}
	if err := f.Commit(); err != ErrAborted {
		t.Errorf("Commit after Abort: got %v, want %v", err, ErrAborted)
	}
	if err := f.Flush(); err != ErrClosed {
		t.Errorf("Flush after Abort: got %v, want %v", err, ErrClosed)
	}
	wantFile(t, path, "old")
}

func TestCloseWithoutCommitIsAbort(t *testing.T) {
	dir, path := oldFile(t)
	if err := newFile(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	wantDir(t, dir, "a.pcapng")
	wantFile(t, path, "old")
}

func TestFailedWriteLeavesTheOldFile(t *testing.T) {
	dir, path := oldFile(t)
	f := newFile(t, path)
	f.f.Close() // as a disk that fails
	err := f.Commit()
	if !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit: got %v, want %v", err, fs.ErrClosed)
	}
	if again := f.Commit(); again != err {
		t.Errorf("second Commit: got %v, want %v", again, err)
	}
	wantDir(t, dir, "a.pcapng")
	wantFile(t, path, "old")
}

func TestFailedRenameRemovesTheCapture(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.pcapng")
	f := newFile(t, path)
	// A directory with something in it cannot be replaced.
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil {
		t.Error("Commit over a directory: no error")
	}
	wantDir(t, dir, "a.pcapng")
}

func TestTwoCapturesAtOnceDoNotMeet(t *testing.T) {
	dir := t.TempDir()
	a, b := newFile(t, filepath.Join(dir, "a")), newFile(t, filepath.Join(dir, "b"))
	if err := b.WritePacket(&Packet{Time: epoch}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Commit(), b.Commit()); err != nil {
		t.Fatal(err)
	}
	wantDir(t, dir, "a", "b")
	for name, want := range map[string]int{"a": 1, "b": 2} {
		if c, err := ReadFile(filepath.Join(dir, name)); err != nil || len(c.Packets) != want {
			t.Errorf("%s: %v, want %d packets", name, err, want)
		}
	}
}

func TestCreateErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Create(dir, Section{}); err == nil || !strings.Contains(err.Error(), "is a directory, want a file") {
		t.Errorf("Create of a directory: got %v", err)
	}
	path := filepath.Join(dir, "missing", "a.pcapng")
	_, err := Create(path, Section{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("Create in a missing directory: got %v, want %v for %s", err, fs.ErrNotExist, path)
	}
	wantDir(t, dir)
}

func TestCreateFollowsALink(t *testing.T) {
	dir, path := oldFile(t)
	link := filepath.Join(dir, "b.pcapng")
	if err := os.Symlink("a.pcapng", link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if err := newFile(t, link).Commit(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link has become %v (%v), want a link", info.Mode(), err)
	}
	if c, err := ReadFile(path); err != nil || len(c.Packets) != 1 {
		t.Errorf("behind the link: %v, want the packet", err)
	}
}

// TestCreateWritesADeviceInPlace: a rename would turn /dev/null into a file.
func TestCreateWritesADeviceInPlace(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("NUL is not in a directory")
	}
	before, err := os.Stat(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f := newFile(t, os.DevNull)
	if !f.sync || f.temp != "" {
		t.Errorf("sync %v, temporary file %q, want writes in place and at once", f.sync, f.temp)
	}
	if f.temp != "" {
		t.FailNow() // before Commit does harm
	}
	if err := f.Commit(); err != nil {
		t.Error(err)
	}
	after, err := os.Stat(os.DevNull)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("%s is another file now (%v)", os.DevNull, err)
	}
}

func TestReadFileErrors(t *testing.T) {
	dir := t.TempDir()
	if c, err := ReadFile(filepath.Join(dir, "no")); c != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: got %v, %v, want %v", c, err, fs.ErrNotExist)
	}
	whole, err := os.ReadFile(filepath.Join("testdata", "decode-matrix.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cut.pcapng")
	if err := os.WriteFile(path, whole[:1979], 0o600); err != nil { // the tenth packet ends at 1980
		t.Fatal(err)
	}
	c, err := ReadFile(path)
	if err == nil || !strings.Contains(err.Error(), path) || len(c.Packets) != 9 || len(c.Interfaces) != 2 {
		t.Errorf("cut file: got %d packets, %v, want 9 of 10 and an error with the path", len(c.Packets), err)
	}
}
