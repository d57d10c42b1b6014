package conntrack

import (
	"errors"
	"net/netip"
)

// Manip says which half of a packet is translated: the destination at PREROUTING and OUTPUT, the source at POSTROUTING and
// INPUT. That is for packets of the original direction; of replies the same hooks undo the other half.
type Manip uint8

// The zero Manip is Dst.
const (
	Dst Manip = iota // DNAT
	Src              // SNAT and MASQUERADE
)

// String returns "dst" or "src".
func (m Manip) String() string {
	if m == Dst {
		return "dst"
	}
	return "src"
}

// done is the status bit that says m is decided.
func (m Manip) done() Status {
	if m == Dst {
		return DstNATDone
	}
	return SrcNATDone
}

// applied is the status bit that says packets of direction d need m.
func (m Manip) applied(d Dir) Status {
	if (m == Dst) == (d == Original) {
		return DstNAT
	}
	return SrcNAT
}

// Range is what a NAT target asks for. The zero Range asks for nothing, the kernel's null binding: the packet keeps its
// addresses and ports, unless its source port must change to keep two flows apart.
type Range struct {
	// MinAddr and MaxAddr bound the new address, inclusive. If MinAddr is not valid the address is kept; if MaxAddr is not
	// valid it equals MinAddr. Among several addresses a hash of source and destination decides.
	MinAddr, MaxAddr netip.Addr
	// MinPort and MaxPort bound the new port, or the new ICMP identifier. If both are zero a source port is kept when it is
	// free, and otherwise replaced by one of its class (below 512, below 1024, the rest), and a destination port is kept; if
	// MaxPort is zero it equals MinPort.
	MinPort, MaxPort uint16
	// Random and RandomFully choose the port at random even if the present one would do; they are the same since Linux 5.
	Random, RandomFully bool
	// Persistent leaves the destination out of the hash that picks an address: a client gets the same one everywhere.
	Persistent bool
}

// Errors of Setup and Translate. All of them mean that the packet is dropped.
var (
	ErrExhausted = errors.New("conntrack: nat: no free port in the range, wanted one")
	ErrSetup     = errors.New("conntrack: nat: entry is confirmed or already set up, wanted a new one")
	ErrFamily    = errors.New("conntrack: nat: address of another family, or range upside down, wanted that of the packet")
)

// Setup decides manip m for a new flow: it picks addresses and ports within r so that the tuple of replies is unique among
// the flows of the table, and notes it in the entry. Translate then rewrites the packets. The host calls it once for each
// manip, when Conn.NeedsNAT says so, with the range the nat table gave, or the zero Range if no rule matched.
//
// After ErrExhausted the packet must be dropped. The search is bounded, as in nf_nat_core: 128 ports in a row from a random
// start, then half as many from another, down to 16; a flow in TIME_WAIT may be evicted for its port at the end of a run.
func (t *Table) Setup(e *Entry, m Manip, r Range) error {
	if e == nil || e.status&(Confirmed|Dying|m.done()) != 0 {
		return ErrSetup
	}
	now, _ := e.node[Reply].key.invert()
	want, err := newNATRange(r, now.family)
	if err != nil {
		return err
	}
	next, ok := t.uniqueTuple(e, now, m, &want)
	if !ok {
		t.stats.NATExhausted++
		return ErrExhausted
	}
	if next != now {
		e.node[Reply].key, _ = next.invert()
		e.status |= m.applied(Original)
	}
	e.status |= m.done()
	return nil
}

// natRange is a Range in working form.
type natRange struct {
	setAddr, setPort bool
	random           bool
	persistent       bool
	min, max         addr
	minPort, maxPort uint16
}

func newNATRange(r Range, family uint8) (natRange, error) {
	n := natRange{
		random: r.Random || r.RandomFully, persistent: r.Persistent,
		setPort: r.MinPort != 0 || r.MaxPort != 0, minPort: r.MinPort, maxPort: max(r.MinPort, r.MaxPort),
	}
	if !r.MinAddr.IsValid() {
		return n, nil
	}
	if !r.MaxAddr.IsValid() {
		r.MaxAddr = r.MinAddr
	}
	if r.MinAddr.Is4() != (family == 4) || r.MaxAddr.Is4() != (family == 4) || r.MaxAddr.Less(r.MinAddr) {
		return n, ErrFamily
	}
	n.setAddr, n.min, n.max = true, addrOf(r.MinAddr), addrOf(r.MaxAddr)
	return n, nil
}

func (r *natRange) hasAddr(a addr) bool {
	above := a.hi > r.min.hi || a.hi == r.min.hi && a.lo >= r.min.lo
	below := a.hi < r.max.hi || a.hi == r.max.hi && a.lo <= r.max.lo
	return above && below
}

// pickAddr returns the address of the range that belongs to the ends of k. The hash has no seed: a restarted host maps a
// client to the same address again, as the kernel does.
func (r *natRange) pickAddr(k *key) addr {
	if r.min == r.max {
		return r.min
	}
	h := mix(k.src.lo^0x452821e638d01377, k.src.hi^0xbe5466cf34e90c6c)
	if !r.persistent {
		h = mix(h^k.dst.lo, k.dst.hi^0xc0ac29b7c97c50dd)
	}
	if r.min.hi != r.max.hi {
		return addr{hi: r.min.hi + h%(r.max.hi-r.min.hi), lo: r.min.lo | mix(h, h)} // an IPv6 range wider than a /64
	}
	span := r.max.lo - r.min.lo + 1
	if span == 0 {
		return addr{hi: r.min.hi, lo: h}
	}
	return addr{hi: r.min.hi, lo: r.min.lo + h%span}
}
