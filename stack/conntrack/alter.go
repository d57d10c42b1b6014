package conntrack

import "net/netip"

// AlterReply makes the answers of a flow that is not in the table yet be expected from another end, without NAT of the
// table's own (nf_conntrack_alter_reply): a load balancer such as IPVS translates the flow. A flow that is in the table
// stays as it is.
func (t *Table) AlterReply(c Conn, from netip.AddrPort) {
	e := c.Entry
	if e == nil || c.Dir != Original || e.status&(Confirmed|Dying) != 0 {
		return
	}
	k := &e.node[Reply].key
	k.src = addrOf(from.Addr())
	if Src.port(k) != nil && k.proto != protoICMP {
		k.sport = from.Port()
	}
}

// Rewrite makes the half m of an IPv4 datagram name an address and, if its protocol has ports, a port, as Translate does
// for a flow with NAT.
func Rewrite(pkt []byte, m Manip, end netip.AddrPort) error {
	hlen, total, ok := splitIPv4(pkt, false)
	if !ok {
		return ErrMalformed
	}
	k := end4(pkt[9], end)
	_, err := rewrite(pkt[:total], hlen, total, m, &k)
	return err
}

// RewriteError is Rewrite for an ICMP error: outside it changes the half m of the addresses, inside the other half of the
// datagram that is quoted, which went the other way.
func RewriteError(pkt []byte, m Manip, end netip.AddrPort) error {
	hlen, total, ok := splitIPv4(pkt, false)
	if !ok {
		return ErrMalformed
	}
	msg := pkt[hlen:total]
	if len(msg) < icmpHeaderLen || !isICMPError(msg[0]) {
		return ErrMalformed
	}
	quote := msg[icmpHeaderLen:]
	qlen, size, ok := splitIPv4(quote, true)
	if !ok {
		return ErrMalformed
	}
	inner := end4(quote[9], end)
	change, err := rewrite(quote, qlen, size, m^1, &inner)
	if err != nil {
		return err
	}
	change.fixICMP(msg)
	outer := end4(protoICMP, end)
	rewriteAddr(pkt, m, &outer)
	return nil
}

// end4 is a tuple both of whose ends are the one that is wanted.
func end4(proto uint8, end netip.AddrPort) key {
	a := addrOf(end.Addr())
	return key{src: a, dst: a, sport: end.Port(), dport: end.Port(), proto: proto, family: 4}
}
