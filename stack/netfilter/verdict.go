package netfilter

import (
	"net/netip"
	"strconv"
)

// Kind says what is to become of a packet.
type Kind uint8

// The kinds of verdict.
const (
	Accept     Kind = iota // go on to the next table or stage
	Drop                   // drop silently
	Reject                 // drop and answer as Verdict.Reject says
	DNAT                   // rewrite the destination into Verdict.Range
	SNAT                   // rewrite the source into Verdict.Range
	Masquerade             // rewrite the source to the egress device's primary address, ports as in Verdict.Range
	Netmap                 // rewrite the network part of the destination, or after routing the source, to that of Verdict.Range
	Redirect               // rewrite the destination to the ingress device's address, 127.0.0.1 for local packets
)

var kindNames = [...]string{"ACCEPT", "DROP", "REJECT", "DNAT", "SNAT", "MASQUERADE", "NETMAP", "REDIRECT"}

// String is the iptables target that gives the verdict.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "KIND?"
}

// RejectWith is the answer that REJECT sends, by its iptables name. The zero value is no answer at all.
type RejectWith string

// The answers of REJECT for IPv4.
const (
	RejectNet        RejectWith = "icmp-net-unreachable"
	RejectHost       RejectWith = "icmp-host-unreachable"
	RejectPort       RejectWith = "icmp-port-unreachable" // the default
	RejectProto      RejectWith = "icmp-proto-unreachable"
	RejectNetProhib  RejectWith = "icmp-net-prohibited"
	RejectHostProhib RejectWith = "icmp-host-prohibited"
	RejectAdmin      RejectWith = "icmp-admin-prohibited"
	RejectTCPReset   RejectWith = "tcp-reset"
)

// ICMPCode is the code of the ICMP destination unreachable message (type 3, RFC 792) to send, and whether the answer
// is one; tcp-reset is not.
func (w RejectWith) ICMPCode() (code uint8, ok bool) {
	for _, a := range rejectAnswers {
		if a.name == w && w != RejectTCPReset {
			return a.code, true
		}
	}
	return 0, false
}

// Range is where NAT may move an address and a port. The zero value of a field leaves that part free.
type Range struct {
	MinAddr, MaxAddr netip.Addr // invalid when the rule names no address
	MinPort, MaxPort uint16
	Ports            bool   // the rule names ports
	Base             uint16 // with HasBase: the port that maps to MinPort (DNAT to addr:lo-hi/base)
	HasBase          bool
	Random           bool // choose the port at random from the range, by a hash of the source
	RandomFully      bool // choose it at random, always
	Persistent       bool // choose the address by source alone, so that a client keeps it
}

// Map returns the address that NETMAP makes of a: the network part of the range with the host part of a.
func (g Range) Map(a netip.Addr) netip.Addr {
	lo, hi, x := toU128(g.MinAddr), toU128(g.MaxAddr), toU128(a)
	host := u128{lo.hi ^ hi.hi, lo.lo ^ hi.lo}
	return u128{lo.hi | x.hi&host.hi, lo.lo | x.lo&host.lo}.addr()
}

// String is the range as iptables writes it: 10.0.0.1-10.0.0.9:80-90.
func (g Range) String() string { return string(g.appendTo(nil)) }

func (g Range) appendTo(b []byte) []byte {
	if g.MinAddr.IsValid() {
		b = g.MinAddr.AppendTo(b)
		if g.MaxAddr != g.MinAddr {
			b = g.MaxAddr.AppendTo(append(b, '-'))
		}
	}
	if !g.Ports {
		return b
	}
	b = g.appendPorts(append(b, ':'))
	if g.HasBase {
		b = strconv.AppendUint(append(b, '/'), uint64(g.Base), 10)
	}
	return b
}

func (g Range) appendPorts(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(g.MinPort), 10)
	if g.MaxPort != g.MinPort {
		b = strconv.AppendUint(append(b, '-'), uint64(g.MaxPort), 10)
	}
	return b
}

// Verdict is the outcome of running one table at one hook. The zero value accepts.
type Verdict struct {
	Kind   Kind
	Reject RejectWith // for Reject
	Range  Range      // for DNAT, SNAT, Masquerade and Redirect
	Table  Table
	Chain  string // the chain that decided: the rule's, or the built-in one when the policy did
	Rule   *Rule  // the rule that decided; nil for the policy
}

// String explains the verdict in one line, for captures:
//
//	nat KUBE-SEP-XXXX: DNAT to 10.244.1.2:8080
//	filter FORWARD: policy DROP
func (v Verdict) String() string {
	if v.Rule != nil {
		return v.Rule.Explain()
	}
	return v.Table.String() + " " + v.Chain + ": policy " + v.Kind.String()
}
