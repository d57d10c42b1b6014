package netfilter

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Connection is a packet's entry in the connection table, for the rules that look further than its state.
type Connection interface {
	// Tuples are what the first packet had and what a reply has, both before translation. ICMP has its type and code
	// in the place of ports.
	Tuples() (original, reply Tuple)
	// Reply says that the packet goes in the direction of replies.
	Reply() bool
	// Seen, Assured and Confirmed are the status bits of those names.
	Seen() bool
	Assured() bool
	Confirmed() bool
	// Left is the time until the entry expires.
	Left() time.Duration
	// Handle identifies the entry; see Env.Alive.
	Handle() any
}

// Tuple is one direction of a connection.
type Tuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Proto            uint8
}

// ctMatch is -m conntrack and -m state.
type ctMatch struct {
	alias bool     // -m state
	state ctBits   // --ctstate
	proto ctNumber // --ctproto
	addrs [4]ctAddr
	ports [4]ctNumber
	stat  ctBits   // --ctstatus
	left  ctNumber // --ctexpire
	reply int8     // --ctdir: 1 REPLY, -1 ORIGINAL
}

type ctBits struct {
	bits uint16
	neg  bool
}

type ctAddr struct {
	test *addrTest // nil matches every address
	set  bool
}

type ctNumber struct {
	lo, hi   uint32
	set, neg bool
}

func (n *ctNumber) match(v uint32) bool { return !n.set || (v >= n.lo && v <= n.hi) != n.neg }

func (n *ctNumber) appendTo(b []byte, flag string) []byte {
	if !n.set {
		return b
	}
	b = strconv.AppendUint(append(append(appendNot(b, n.neg), flag...), ' '), uint64(n.lo), 10)
	if n.hi != n.lo {
		b = strconv.AppendUint(append(b, ':'), uint64(n.hi), 10)
	}
	return b
}

// The states in the order in which iptables prints them, the bit each stands for, and the names of --ctstatus and
// --ctdir.
var (
	stateNames  = []string{"INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"}
	stateOrder  = [...]uint16{StateInvalid: 0, StateNew: 1, StateEstablished: 3, StateRelated: 2, StateUntracked: 4}
	statusNames = []string{"EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "NONE"}
	ctSides     = [4]string{"origsrc", "origdst", "replsrc", "repldst"}
)

const (
	stateSNAT  = 1 << 5
	stateDNAT  = 1 << 6
	statusNone = 1 << 4 // prints as NONE and never matches
)

func (m *ctMatch) test(e *eval, _ []uint64) bool {
	if m.state.bits != 0 && !m.testState(e.p) {
		return false
	}
	if !m.beyondState() {
		return true
	}
	c := e.p.Conn
	if c == nil {
		return m.state.bits != 0
	}
	if m.reply != 0 && c.Reply() != (m.reply > 0) {
		return false
	}
	orig, reply := c.Tuples()
	addrs := [4]netip.Addr{orig.Src, orig.Dst, reply.Src, reply.Dst}
	ports := [4]uint16{orig.SrcPort, orig.DstPort, reply.SrcPort, reply.DstPort}
	if !m.proto.match(uint32(orig.Proto)) {
		return false
	}
	for i := range 4 {
		if t := m.addrs[i].test; t != nil && !t.match(toU128(addrs[i])) || !m.ports[i].match(uint32(ports[i])) {
			return false
		}
	}
	if m.stat.bits != 0 && (m.stat.bits&statusBits(c) != 0) == m.stat.neg {
		return false
	}
	return m.left.match(uint32(min(max(c.Left(), 0)/time.Second, math.MaxUint32)))
}

func (m *ctMatch) testState(p *Packet) bool {
	var bits uint16
	if int(p.State) < len(stateOrder) {
		bits = 1 << stateOrder[p.State]
	}
	if p.Status&StatusSNAT != 0 {
		bits |= stateSNAT
	}
	if p.Status&StatusDNAT != 0 {
		bits |= stateDNAT
	}
	return (bits&m.state.bits != 0) != m.state.neg
}

// beyondState reports whether the match asks for more than the state.
func (m *ctMatch) beyondState() bool {
	some := m.proto.set || m.stat.bits != 0 || m.left.set || m.reply != 0
	for i := range 4 {
		some = some || m.addrs[i].set || m.ports[i].set
	}
	return some
}

func statusBits(c Connection) (bits uint16) {
	for i, on := range []bool{false, c.Seen(), c.Assured(), c.Confirmed()} {
		if on {
			bits |= 1 << i
		}
	}
	return bits
}

func (m *ctMatch) appendTo(b []byte) []byte {
	if m.state.bits != 0 {
		flag := " --ctstate "
		if m.alias {
			flag = " --state "
		}
		b = appendBits(append(appendNot(b, m.state.neg), flag...), m.state.bits, stateNames)
	}
	b = m.proto.appendTo(b, " --ctproto")
	for i, side := range ctSides {
		if t := m.addrs[i]; t.set {
			b = appendCTAddr(b, side, t.test)
		}
	}
	for i, side := range ctSides {
		b = m.ports[i].appendTo(b, " --ct"+side+"port")
	}
	if m.stat.bits != 0 {
		b = appendBits(append(appendNot(b, m.stat.neg), " --ctstatus "...), m.stat.bits, statusNames)
	}
	b = m.left.appendTo(b, " --ctexpire")
	switch {
	case m.reply > 0:
		b = append(b, " --ctdir REPLY"...)
	case m.reply < 0:
		b = append(b, " --ctdir ORIGINAL"...)
	}
	return b
}

// appendCTAddr prints an address with its mask, which is left away if it covers one address.
func appendCTAddr(b []byte, side string, t *addrTest) []byte {
	flag := "--ct" + side
	if t == nil {
		return append(append(append(b, ' '), flag...), " 0.0.0.0/0"...)
	}
	b = t.appendTo(b, flag)
	if t.mask == onesV4 {
		b = b[:len(b)-len("/32")]
	}
	return b
}

func (m *ctMatch) finish(_ *Rule, name word) error {
	switch {
	case m.alias && m.state.bits == 0:
		return name.errorf("this match needs --state")
	case m.state.bits == 0 && !m.beyondState():
		return name.errorf("this match needs --ctstate or another option")
	}
	return nil
}

func (m *ctMatch) setState(a arg, names []string) (err error) {
	m.state.neg = a.neg
	m.state.bits, err = parseBits(a.w[0], "state", names)
	return err
}

func (n *ctNumber) parse(a arg, limit uint64) error {
	first, second, isRange := strings.Cut(a.w[0].text, ":")
	lo, err := parseNumber(word{first, a.w[0].col}, limit)
	hi := lo
	if isRange && err == nil {
		hi, err = parseNumber(word{second, a.w[0].col + len(first) + 1}, limit)
	}
	if err == nil && hi < lo {
		err = a.w[0].errorf("range runs from %d down to %d", lo, hi)
	}
	*n = ctNumber{uint32(lo), uint32(hi), true, a.neg}
	return err
}

func ctOptions() []option {
	list := []option{
		opt("--ctstate", 1, true, func(m *ctMatch, a arg) error { return m.setState(a, stateNames) }),
		opt("--ctproto", 1, true, func(m *ctMatch, a arg) error {
			n, err := parseProto(a.w[0])
			m.proto = ctNumber{uint32(n), uint32(n), true, a.neg}
			return err
		}),
		opt("--ctstatus", 1, true, func(m *ctMatch, a arg) (err error) {
			m.stat.neg = a.neg
			m.stat.bits, err = parseBits(a.w[0], "status", statusNames)
			return err
		}),
		opt("--ctexpire", 1, true, func(m *ctMatch, a arg) error { return m.left.parse(a, math.MaxUint32) }),
		opt("--ctdir", 1, false, func(m *ctMatch, a arg) error {
			i, ok := indexFold([]string{"ORIGINAL", "REPLY"}, a.w[0].text)
			if !ok {
				return a.w[0].unknown("direction", []string{"ORIGINAL", "REPLY"})
			}
			m.reply = int8(2*i - 1)
			return nil
		}),
	}
	for i, side := range ctSides {
		list = append(list,
			opt("--ct"+side, 1, true, func(m *ctMatch, a arg) error {
				t, err := parseAddr(a.w[0], a.neg)
				if m.addrs[i].set = true; t.mask != maskV4(0) {
					m.addrs[i].test = &t
				}
				return err
			}),
			opt("--ct"+side+"port", 1, true, func(m *ctMatch, a arg) error { return m.ports[i].parse(a, 65535) }))
	}
	return list
}

var (
	conntrackKind = &kind{"conntrack", ctOptions(), of(ctMatch{})}
	stateKind     = &kind{"state", []option{
		opt("--state", 1, true, func(m *ctMatch, a arg) error { return m.setState(a, stateNames[:5]) }),
	}, of(ctMatch{alias: true})}
)
