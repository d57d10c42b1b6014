package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A frame is what tshark says about one frame at one point.
type frame struct {
	iface  string // "node1/flannel.1"
	dir    string // "in" or "out", seen from the host that owns the interface
	id     string // the datagram's, the same at every point
	note   string // packet comment
	at     time.Duration
	depth  map[string]int      // by protocol: headers around that of the packet of interest
	fields map[string][]string // outermost first
}

func (f *frame) first(name string) string { return f.nth(name, 0) }

// nth returns the nth occurrence of a field, "" if there is none.
func (f *frame) nth(name string, n int) string {
	v := f.fields[name]
	if n < 0 || n >= len(v) {
		return ""
	}
	switch v[n] { // newer versions of tshark spell booleans out
	case "True":
		return "1"
	case "False":
		return "0"
	}
	return v[n]
}

// get returns a field of the packet of interest: the one inside the tunnel if
// there is one, and of an ICMP error the error itself.
func (f *frame) get(name string) string {
	switch proto, _, _ := strings.Cut(name, "."); proto {
	case "eth", "ip", "udp":
		return f.nth(name, f.depth[proto])
	}
	return f.first(name)
}

// outer returns a field of the outermost packet.
func (f *frame) outer(name string) string { return f.first(name) }

// quoted returns a field of the packet that an ICMP error quotes.
func (f *frame) quoted(name string) string {
	switch proto, _, _ := strings.Cut(name, "."); proto {
	case "ip":
		return f.nth(name, f.depth["ip"]+1)
	case "udp":
		return f.nth(name, f.depth["udp"])
	case "icmp":
		return f.nth(name, 1)
	}
	return f.first(name)
}

// number reads a field of the packet of interest as a number.
func (f *frame) number(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.ParseInt(f.get(name), 0, 64)
	if err != nil {
		t.Fatalf("%v: %s is %q, want a number", f, name, f.get(name))
	}
	return int(n)
}

func (f *frame) has(name string) bool { return len(f.fields[name]) > 0 }

// tunnelled reports whether a tunnel is around the packet of interest.
func (f *frame) tunnelled() bool { return f.depth["ip"] > 0 }

// isError reports whether the packet of interest is an ICMP error.
func (f *frame) isError() bool {
	return slices.Contains([]string{"3", "4", "5", "11", "12"}, f.first("icmp.type"))
}

// String names the frame in failure messages.
func (f *frame) String() string {
	s := fmt.Sprintf("frame %s (%s %s, %v)", f.first("frame.number"), f.iface, f.dir, f.at)
	if f.has("ip.src") {
		s += fmt.Sprintf(" %s -> %s", f.get("ip.src"), f.get("ip.dst"))
	}
	return s + " " + f.first("frame.protocols")
}

// frames is a list of frames in the order of the capture.
type frames []*frame

// filter returns the frames that f approves of.
func (l frames) filter(f func(*frame) bool) frames {
	var out frames
	for _, x := range l {
		if f(x) {
			out = append(out, x)
		}
	}
	return out
}

// on returns the frames of some interfaces.
func (l frames) on(ifaces ...string) frames {
	return l.filter(func(f *frame) bool { return slices.Contains(ifaces, f.iface) })
}

// in and out return the frames that a host has received, or sent.
func (l frames) in() frames  { return l.filter(func(f *frame) bool { return f.dir == "in" }) }
func (l frames) out() frames { return l.filter(func(f *frame) bool { return f.dir == "out" }) }

// where returns the frames whose packet of interest has all these fields, given
// as name and value in turn.
func (l frames) where(pairs ...string) frames {
	return l.filter(func(f *frame) bool {
		for i := 0; i < len(pairs); i += 2 {
			if f.get(pairs[i]) != pairs[i+1] {
				return false
			}
		}
		return true
	})
}

// having returns the frames that have a field.
func (l frames) having(name string) frames {
	return l.filter(func(f *frame) bool { return f.has(name) })
}

// since returns the frames from a moment of the capture on.
func (l frames) since(at time.Duration) frames {
	return l.filter(func(f *frame) bool { return f.at >= at })
}

// errors returns the ICMP errors.
func (l frames) errors() frames { return l.filter((*frame).isError) }

// id returns the frames of one datagram.
func (l frames) id(id string) frames {
	return l.filter(func(f *frame) bool { return f.id == id })
}

// ids returns the datagrams in the list, each once, in order.
func (l frames) ids() []string {
	var ids []string
	for _, f := range l {
		if !slices.Contains(ids, f.id) {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// values returns what a field is in each frame's packet of interest.
func (l frames) values(name string) []string {
	var out []string
	for _, f := range l {
		out = append(out, f.get(name))
	}
	return out
}

// one returns the only frame in the list; none or several end the test.
func (l frames) one(t *testing.T, what string) *frame {
	t.Helper()
	if len(l) != 1 {
		t.Fatalf("%s: %d frames, want 1: %v", what, len(l), l)
	}
	return l[0]
}

// some returns the list, which must not be empty.
func (l frames) some(t *testing.T, what string) frames {
	t.Helper()
	if len(l) == 0 {
		t.Fatalf("%s: no frame", what)
	}
	return l
}

// none reports frames that should not be there.
func (l frames) none(t *testing.T, what string) {
	t.Helper()
	if len(l) != 0 {
		t.Errorf("%s: %d frames, want none: %v", what, len(l), l)
	}
}

// want compares fields of the packet of interest, given as name and value in
// turn.
func (f *frame) want(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := f.get(pairs[i]); got != pairs[i+1] {
			t.Errorf("%v: %s = %q, want %q", f, pairs[i], got, pairs[i+1])
		}
	}
}

// wantQuoted compares fields of the packet that an ICMP error quotes.
func (f *frame) wantQuoted(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := f.quoted(pairs[i]); got != pairs[i+1] {
			t.Errorf("%v: quoted %s = %q, want %q", f, pairs[i], got, pairs[i+1])
		}
	}
}
