package link

import (
	"bytes"
	"testing"
)

// mustPanic wants f to panic.
func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// newPool is a driver that has only its lists of frames.
func newPool() *Driver {
	return &Driver{small: frameList{size: smallBuffer}, large: frameList{size: largeBuffer}}
}

func TestFramePushAndPull(t *testing.T) {
	d := newPool()
	f := d.NewFrame(4)
	copy(f.Bytes(), "data")
	copy(f.Push(3), "udp")
	copy(f.Push(2), "ip")
	equal(t, "after push", string(f.Bytes()), "ipudpdata")
	equal(t, "length", f.Len(), 9)
	equal(t, "after pull", string(f.Pull(5)), "data")
	f.Truncate(2)
	equal(t, "after truncate", string(f.Bytes()), "da")
	mustPanic(t, "pull past the end", func() { f.Pull(3) })
	mustPanic(t, "truncate past the end", func() { f.Truncate(3) })
	f.Release()
	equal(t, "live frames", d.LiveFrames(), 0)
}

// TestFrameGrows: more headers than there is room for are a copy, not an error.
func TestFrameGrows(t *testing.T) {
	d := newPool()
	for _, n := range []int{10, 1500, 9000, 65549} {
		f := d.NewFrame(n)
		for i := range f.Bytes() {
			f.Bytes()[i] = byte(i)
		}
		payload := bytes.Clone(f.Bytes())
		for i := range 30 { // 600 bytes of headers
			copy(f.Push(20), bytes.Repeat([]byte{byte(i)}, 20))
		}
		equal(t, "length", f.Len(), n+600)
		for i := 29; i >= 0; i-- {
			if got := f.Bytes()[:20]; !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, 20)) {
				t.Fatalf("header %d: got %x", i, got)
			}
			f.Pull(20)
		}
		if !bytes.Equal(f.Bytes(), payload) {
			t.Errorf("%d bytes of payload were harmed", n)
		}
		f.Release()
		again := d.NewFrame(n)
		equal(t, "a grown buffer goes back to its class", len(again.buf) == smallBuffer || len(again.buf) == largeBuffer, true)
		again.Release()
	}
	equal(t, "live frames", d.LiveFrames(), 0)
}

func TestFrameClone(t *testing.T) {
	d := newPool()
	f := d.NewFrame(4)
	copy(f.Bytes(), "data")
	f.ID, f.Hash, f.Note = 1, 2, "note"
	c := d.Clone(f)
	equal(t, "live frames", d.LiveFrames(), 2)
	f.Bytes()[0] = 'X'
	f.Release()
	equal(t, "clone", string(c.Bytes()), "data")
	if c.ID != 1 || c.Hash != 2 || c.Note != "note" {
		t.Errorf("clone has ID %d, hash %d, note %q, want 1, 2, note", c.ID, c.Hash, c.Note)
	}
	c.Release()
	mustPanic(t, "released twice", c.Release)
	n := d.NewFrame(4)
	if n.ID != 0 || n.Hash != 0 || n.Note != "" {
		t.Errorf("a new frame remembers ID %d, hash %d, note %q", n.ID, n.Hash, n.Note)
	}
	n.Release()
	equal(t, "live frames", d.LiveFrames(), 0)
}

func TestFrameSizes(t *testing.T) {
	d := newPool()
	for _, n := range []int{0, 1, smallBuffer - Headroom, smallBuffer - Headroom + 1, 1<<16 + EthernetHeader} {
		f := d.NewFrame(n)
		equal(t, "length", f.Len(), n)
		equal(t, "headroom", f.start, Headroom)
		f.Release()
	}
	mustPanic(t, "negative", func() { d.NewFrame(-1) })
	mustPanic(t, "beyond what IP can hold", func() { d.NewFrame(1<<16 + EthernetHeader + 1) })
}

func TestMAC(t *testing.T) {
	for _, s := range []string{"00:00:00:00:00:00", "0a:58:0a:f4:01:02", "ff:ff:ff:ff:ff:ff"} {
		m, err := ParseMAC(s)
		if err != nil || m.String() != s {
			t.Errorf("ParseMAC(%q): got %v, %v", s, m, err)
		}
		equal(t, s+" is zero", m.IsZero(), s[0] == '0' && s[1] == '0')
		equal(t, s+" is broadcast", m.IsBroadcast(), s[0] == 'f')
		equal(t, s+" is a group", m.IsMulticast(), s[0] == 'f')
	}
	if m, err := ParseMAC("0A:58:0A:F4:01:02"); err != nil || m != (MAC{0x0a, 0x58, 0x0a, 0xf4, 1, 2}) {
		t.Errorf("capital letters: got %v, %v", m, err)
	}
	for _, bad := range []string{"", "0a:58:0a:f4:01", "0a:58:0a:f4:01:02:03", "0a-58-0a-f4-01-02", "0a:58:0a:f4:01:0g", "0a:58:0a:f4:0102:"} {
		if m, err := ParseMAC(bad); err == nil || !m.IsZero() {
			t.Errorf("ParseMAC(%q): got %v, %v, want an error", bad, m, err)
		}
		var m MAC
		if m.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("UnmarshalText(%q): no error", bad)
		}
	}
	for _, r := range []uint64{0, 1, 1<<64 - 1, 0x123456789abcdef} {
		if m := LocalMAC(r); m.IsMulticast() || m[0]&2 == 0 {
			t.Errorf("LocalMAC(%#x) = %v is not a local unicast address", r, m)
		}
	}
}

func FuzzMAC(f *testing.F) {
	for _, s := range []string{"0a:58:0a:f4:01:02", "FF:ff:FF:ff:FF:ff", "0a:58:0a:f4:01:0", "0a 58 0a f4 01 02"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			return
		}
		again, err := ParseMAC(m.String())
		if err != nil || again != m || len(m.String()) != len(s) {
			t.Errorf("ParseMAC(%q) = %v; again: %v, %v", s, m, again, err)
		}
	})
}
