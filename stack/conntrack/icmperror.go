package conntrack

// icmpHeaderLen is the ICMP header of an error, before the quoted datagram (RFC 792).
const icmpHeaderLen = 8

// isICMPError reports whether ICMP messages of type typ quote the datagram they are about: destination unreachable, source
// quench, redirect, time exceeded, parameter problem.
func isICMPError(typ uint8) bool {
	return typ == 3 || typ == 4 || typ == 5 || typ == 11 || typ == 12
}

// relate finds the flow an ICMP error is about. The error travels like an answer to the datagram it quotes, so the flow is
// looked up by the inverse of the quoted tuple and the direction found is the direction of the error. An error sent to
// anybody but the one who sent the quoted datagram is Invalid, as in Linux since 5.2. Errors neither refresh nor count.
func (t *Table) relate(p *packet) Conn {
	var quoted packet
	if quoted.parseQuote(p.l4[icmpHeaderLen:]) == parseOK {
		if inverse, ok := quoted.key.invert(); ok {
			n := t.find(&inverse, t.hash.hash(&inverse))
			if n != nil && p.key.dst == inverse.dst {
				return Conn{Entry: n.entry, Dir: n.dir, State: StateRelated}
			}
		}
	}
	t.stats.ICMPError++
	return Conn{State: StateInvalid}
}
