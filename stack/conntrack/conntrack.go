// Package conntrack is connection tracking and NAT in the manner of Linux: a table of flows, each known by the tuple its
// first packet had and the tuple a reply will have, and the rewriting of packets so that one becomes the other.
//
//	t := conntrack.New(conntrack.Config{}, rand.New(rand.NewPCG(1, 2)))
//	c := t.Track(now, pkt)                     // PREROUTING or OUTPUT: which flow, which state
//	if c.NeedsNAT(conntrack.Dst) {             // the first packet of a flow: ask the nat table, once
//		err = t.Setup(c.Entry, conntrack.Dst, conntrack.Range{MinAddr: backend, MinPort: 8080})
//	}
//	err = t.Translate(c, conntrack.Dst, pkt)   // every packet
//	// ... route, filter, then the same with conntrack.Src at POSTROUTING or INPUT ...
//	ok := t.Confirm(now, c)                    // last: the flow enters the table; false means drop
//
// Packets are raw IPv4 datagrams, already reassembled, patched in place. There are no goroutines and no clock: time is an
// argument, measured from any fixed origin, and must not run backwards. All choices come from the generator given to New
// and from the packets, so the same calls give the same results.
//
// Behaviour follows nf_conntrack and nf_nat of Linux 6: hooks, states, timeouts, port selection, ICMP errors. Left out on
// purpose: checksum verification (the receiver's business), helpers and expectations, zones, GRE call ids, UDP-Lite and
// DCCP ports, and IPv6 parsing (IPv6 packets are Untracked; the types hold IPv6 addresses).
//
// A Table and everything it hands out belong to one goroutine at a time.
package conntrack

import (
	"math/rand/v2"
	"time"
)

// DefaultMax is the number of entries a table holds when Config.Max is zero: the kernel's own default on hosts with more
// than 4 GiB of memory.
const DefaultMax = 262144

// DefaultBuckets is the size of the hash table when Config.Buckets is zero, the kernel's own on the same hosts.
const DefaultBuckets = 262144

// defaultMaxRetrans is Config.TCPMaxRetrans when that is zero.
const defaultMaxRetrans = 3

// Config describes a Table. The zero value is Linux as booted.
type Config struct {
	// Max is nf_conntrack_max, the number of entries at which new flows are refused. If zero, DefaultMax.
	Max int
	// Buckets is nf_conntrack_buckets, the size of the kernel's hash table. If zero, DefaultBuckets; it is rounded up to a
	// power of two, and to 512 (a page of them) at least. Nothing depends on it but early drop, which looks at eight buckets:
	// a limit far below it leaves those empty as a rule, so that a full table refuses new flows although others could go.
	Buckets int
	// Acct is nf_conntrack_acct: entries made while it is set list their counters.
	Acct bool
	// Timeouts are the nf_conntrack_*_timeout_* sysctls; a field left zero has the Linux default.
	Timeouts Timeouts
	// TCPLiberal is nf_conntrack_tcp_be_liberal: segments outside the window are accepted instead of Invalid.
	TCPLiberal bool
	// TCPStrict is nf_conntrack_tcp_loose=0: a flow must begin with a SYN; a segment from the middle of one is Invalid.
	TCPStrict bool
	// TCPIgnoreInvalidRST is nf_conntrack_tcp_ignore_invalid_rst: a RST whose number is too low is not Invalid for that.
	TCPIgnoreInvalidRST bool
	// TCPMaxRetrans is nf_conntrack_tcp_max_retrans: how many retransmissions without an answer bring the timeout down to
	// Timeouts.TCPMaxRetrans. If zero, 3; 255 at most.
	TCPMaxRetrans int
	// Race has packets that come in one instant processed at once, as by several CPUs.
	Race Race
}

// withDefaults returns the configuration with the defaults of Linux for what is zero.
func (c Config) withDefaults() Config {
	if c.Max <= 0 {
		c.Max = DefaultMax
	}
	if c.Buckets <= 0 {
		c.Buckets = DefaultBuckets
	}
	c.Buckets = RoundBuckets(c.Buckets)
	if c.TCPMaxRetrans <= 0 {
		c.TCPMaxRetrans = defaultMaxRetrans
	}
	c.TCPMaxRetrans = min(c.TCPMaxRetrans, 255)
	c.Timeouts = c.Timeouts.withDefaults()
	return c
}

// Table is a connection tracking table, the state behind one network namespace. Make one with New.
type Table struct {
	cfg Config // with defaults
	rng *rand.Rand

	now    time.Duration // the latest time the table was told
	nextID uint64        // numbers entries in order of creation
	stats  Stats

	hash     hashTable
	expiry   expiryQueue
	young    []*Entry             // with Config.Race: those put in the table at this instant
	bySource map[sourceKey]*Entry // entries with SRC_NAT, newest first
}

// New returns an empty table. It draws from rng when it is made and whenever a port is chosen at random; a nil rng means a
// generator with a fixed seed.
func New(cfg Config, rng *rand.Rand) *Table {
	if rng == nil {
		rng = rand.New(rand.NewPCG(0, 0))
	}
	t := &Table{cfg: cfg.withDefaults(), rng: rng, bySource: make(map[sourceKey]*Entry)}
	t.hash.init(t.cfg.Buckets, rng.Uint64())
	return t
}

// Configure changes the limits, timeouts and habits of a table in use, as writing to the sysctls does: entries keep the time
// they have until their next packet, and counters are listed of those that are made from now on or were with Acct.
func (t *Table) Configure(cfg Config) {
	t.cfg = cfg.withDefaults()
	t.hash.limit(t.cfg.Buckets)
}

// Dir is the direction of a packet within its flow.
type Dir uint8

// The zero Dir is Original.
const (
	Original Dir = iota // the direction of the packet that created the entry
	Reply               // the other one
)

// String returns "original" or "reply".
func (d Dir) String() string {
	if d == Original {
		return "original"
	}
	return "reply"
}

// State is what the ctstate match of iptables sees.
type State uint8

// The zero State is StateUntracked.
const (
	StateUntracked   State = iota // not looked at: a non-first fragment, or not IPv4
	StateInvalid                  // broken, or belongs to no flow and cannot start one
	StateNew                      // no packet has come back yet
	StateEstablished              // packets were seen in both directions
	StateRelated                  // an ICMP error about a packet of the flow
	StateRefused                  // a new flow, but the table is full: drop the packet, as the kernel does in the same place
)

// String returns the state in the spelling of iptables: NEW, ESTABLISHED and so on.
func (s State) String() string {
	switch s {
	case StateUntracked:
		return "UNTRACKED"
	case StateInvalid:
		return "INVALID"
	case StateNew:
		return "NEW"
	case StateEstablished:
		return "ESTABLISHED"
	case StateRelated:
		return "RELATED"
	}
	return "REFUSED"
}

// Conn is what conntrack knows about one packet. It travels with the packet through the hooks of a host, and over the
// loopback device too: a packet that already has a Conn is not tracked again. The zero Conn is an Untracked packet.
type Conn struct {
	Entry *Entry // nil when the packet belongs to no flow
	Dir   Dir
	State State
}

// NeedsNAT reports whether the nat table has yet to decide about m for the flow of c, which must then happen now, followed
// by Setup. Only the first packet of a flow can need it.
func (c Conn) NeedsNAT(m Manip) bool {
	return c.State == StateNew && c.Entry != nil && c.Entry.status&Confirmed == 0 && c.Entry.status&m.done() == 0
}

// Related returns the Conn for a packet that the host itself makes in answer to a packet with Conn c: the ICMP error or TCP
// reset of a REJECT. It goes the other way in the same flow, confirmed or not, so that translation covers it (the kernel's
// nf_ct_attach).
func (c Conn) Related() Conn {
	if c.Entry == nil {
		return c
	}
	return Conn{Entry: c.Entry, Dir: c.Dir ^ 1, State: StateRelated}
}

// Track finds the flow of the IPv4 packet pkt, or makes a new entry for it that only Confirm puts in the table. It belongs
// at PREROUTING and OUTPUT, after reassembly. It reads pkt and does not keep it. No input makes it panic.
func (t *Table) Track(now time.Duration, pkt []byte) Conn {
	t.advance(now)
	t.sweep(sweepPerPacket)
	var p packet
	switch p.parse(pkt) {
	case parseSkip:
		return Conn{}
	case parseBad:
		t.stats.Invalid++
		return Conn{State: StateInvalid}
	}
	if p.proto() == protoICMP && isICMPError(p.l4[0]) {
		return t.relate(&p)
	}
	return t.resolve(&p)
}

// resolve is Track for everything but ICMP errors.
func (t *Table) resolve(p *packet) Conn {
	// Twice at most: a SYN on a dead connection deletes the entry it found and starts again without it.
	for {
		h := t.hash.hash(&p.key)
		c := Conn{State: StateEstablished}
		if n := t.find(&p.key, h); n != nil && !t.unseen(n) {
			t.stats.Found++
			c.Entry, c.Dir = n.entry, n.dir
			if c.Dir == Original && c.Entry.status&SeenReply == 0 {
				c.State = StateNew
			}
		} else {
			reply, ok := p.key.invert()
			if !ok {
				t.stats.Invalid++
				return Conn{State: StateInvalid}
			}
			if t.hash.entries >= t.cfg.Max && !t.earlyDrop(h) {
				t.stats.Drop++
				return Conn{State: StateRefused}
			}
			c.Entry, c.State = t.newEntry(p.key, reply), StateNew
		}
		switch t.packet(c.Entry, c.Dir, p) {
		case verdictRepeat:
			t.remove(c.Entry)
			continue
		case verdictInvalid:
			t.stats.Invalid++
			return Conn{State: StateInvalid}
		}
		if c.Entry.status&Confirmed == 0 {
			t.stats.New++
		}
		if c.Dir == Reply {
			c.Entry.status |= SeenReply
		}
		return c
	}
}

// Confirm puts the entry of a new flow in the table, at the end of POSTROUTING or INPUT, when the packet is sure to go on.
// False means that the packet must be dropped: the table is full, or another flow has taken one of the two tuples and the
// two cannot be reconciled. For packets of known flows, and of none, it does nothing and returns true.
func (t *Table) Confirm(now time.Duration, c Conn) bool {
	if c.State == StateRefused {
		return false
	}
	e := c.Entry
	if e == nil || e.status&Confirmed != 0 || c.Dir != Original {
		return true
	}
	t.advance(now)
	if e.status&Dying != 0 {
		t.stats.InsertFailed++
		return false
	}
	if t.hash.entries >= t.cfg.Max {
		t.stats.Drop++
		return false
	}
	if rival := t.rival(e); rival != nil {
		return t.resolveClash(e, rival)
	}
	t.insert(e)
	return true
}

// rival returns an entry that already owns one of the tuples of e.
func (t *Table) rival(e *Entry) *Entry {
	for d := range e.node {
		key := &e.node[d].key
		if n := t.find(key, t.hash.hash(key)); n != nil {
			return n.entry
		}
	}
	return nil
}

// advance moves the table's time forward, never back.
func (t *Table) advance(now time.Duration) {
	if now > t.now {
		t.now, t.young = now, t.young[:0]
	}
}
