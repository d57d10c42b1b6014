package conntrack

import (
	"fmt"
	"strings"
	"time"
)

// Status is the set of IPS_* bits of an entry, with the kernel's values.
type Status uint32

// Status bits. The gaps are bits of features that do not exist here.
const (
	SeenReply  Status = 1 << 1  // a packet came back
	Assured    Status = 1 << 2  // worth keeping when the table is full
	Confirmed  Status = 1 << 3  // in the table, now or once
	SrcNAT     Status = 1 << 4  // the source is translated, in the original direction
	DstNAT     Status = 1 << 5  // the destination is translated, in the original direction
	SrcNATDone Status = 1 << 7  // it is decided whether the source is translated
	DstNATDone Status = 1 << 8  // it is decided whether the destination is translated
	Dying      Status = 1 << 9  // taken out of the table
	NATClash   Status = 1 << 12 // found by its reply tuple only, and lives for a second: see resolveClash
)

// Counter counts the packets of one direction.
type Counter struct {
	Packets uint64
	Bytes   uint64 // IP total length, header included
}

// Entry is one flow. Its methods are valid for as long as anyone holds it, also after it has left the table.
type Entry struct {
	// One cache line per direction, then what every packet touches, then the rest: with many flows the cost of a packet is
	// the lines it misses.
	node [2]node // by Dir

	status   Status
	deadline time.Duration // meaningful once confirmed
	queued   time.Duration // when the expiry queue looks at the entry, never later than deadline
	counters [2]Counter

	// Mark is the connection mark that CONNMARK sets; conntrack only prints it.
	Mark uint32

	proto     protoState
	timeout   time.Duration // what the deadline will be, counted from Confirm, while unconfirmed
	heapIndex int
	acct      bool // list the counters
	id        uint64
	table     *Table

	sourceNext, sourcePrev *Entry // list of Table.bySource
}

// protoState is what the tracker of the entry's protocol remembers.
type protoState struct {
	tcp      tcpState
	sctp     sctpState
	streamAt time.Duration // UDP: traffic in both directions after this makes a stream
}

func (t *Table) newEntry(original, reply key) *Entry {
	t.nextID++
	e := &Entry{id: t.nextID, table: t, acct: t.cfg.Acct}
	e.node[Original] = node{key: original, entry: e, dir: Original}
	e.node[Reply] = node{key: reply, entry: e, dir: Reply}
	return e
}

func (e *Entry) protocol() uint8 { return e.node[Original].key.proto }

// Tuple returns the tuple of packets going in direction d, as they are when they come to Track: before translation.
func (e *Entry) Tuple(d Dir) Tuple { return e.node[d&1].key.tuple() }

// Status returns the status bits.
func (e *Entry) Status() Status { return e.status }

// Counter returns the packets of direction d so far. Packets that TCP tracking ignores are not counted, as in the kernel.
func (e *Entry) Counter(d Dir) Counter { return e.counters[d&1] }

// Deadline returns the time at which the entry expires unless refreshed; zero before Confirm.
func (e *Entry) Deadline() time.Duration { return e.deadline }

// ProtoState returns the name of the TCP or SCTP state, such as "ESTABLISHED"; empty for other protocols.
func (e *Entry) ProtoState() string {
	switch e.protocol() {
	case protoTCP:
		return tcpNames[e.proto.tcp.state]
	case protoSCTP:
		return sctpNames[e.proto.sctp.state]
	}
	return ""
}

// String returns the entry as a line of /proc/net/nf_conntrack, with the timeout as of the table's latest time.
func (e *Entry) String() string { return e.Line(e.table.now) }

// Line returns the entry as a line of /proc/net/nf_conntrack at the time now, with counters if it was made with Config.Acct.
func (e *Entry) Line(now time.Duration) string {
	var b strings.Builder
	family, number := "ipv4", 2 // AF_INET
	if e.node[Original].key.family == 6 {
		family, number = "ipv6", 10
	}
	left := max(e.deadline-now, 0) / time.Second
	fmt.Fprintf(&b, "%-8s %d %-8s %d %d ", family, number, protoName(e.protocol()), e.protocol(), left)
	if s := e.ProtoState(); s != "" {
		b.WriteString(s + " ")
	}
	e.writeDir(&b, Original)
	if e.status&SeenReply == 0 {
		b.WriteString("[UNREPLIED] ")
	}
	e.writeDir(&b, Reply)
	if e.status&Assured != 0 {
		b.WriteString("[ASSURED] ")
	}
	// use counts references: one is the table's, one the reader's.
	fmt.Fprintf(&b, "mark=%d zone=0 use=2", e.Mark)
	return b.String()
}

func (e *Entry) writeDir(b *strings.Builder, d Dir) {
	b.WriteString(e.Tuple(d).String() + " ")
	if e.acct {
		fmt.Fprintf(b, "packets=%d bytes=%d ", e.counters[d].Packets, e.counters[d].Bytes)
	}
}

func protoName(proto uint8) string {
	switch proto {
	case protoICMP:
		return "icmp"
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoGRE:
		return "gre"
	case protoSCTP:
		return "sctp"
	}
	return "unknown"
}
