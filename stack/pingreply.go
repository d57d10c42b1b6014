package stack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// maxReplies bounds what waits for [PingConn.Receive].
const maxReplies = 4096

// A PingReply says what came back for one echo request.
type PingReply struct {
	Seq  uint16        // of the request
	From netip.Addr    // who answered: the destination, or who sent an error
	RTT  time.Duration // exact in virtual time
	TTL  byte          // of the answer as it came in
	Size int           // of the answer in bytes, ICMP header included
	Type byte          // ICMP type: 0 for an echo reply, else an error
	Code byte
	MTU  int // of a "fragmentation needed" error (RFC 1191 §4)

	// Duplicate says that the request had been answered before, as one to a
	// broadcast address is.
	Duplicate bool
}

// Err returns what an error reply means to a socket, nil for an echo reply.
func (r PingReply) Err() error {
	switch {
	case r.Type == icmpEchoReply:
		return nil
	case r.Type == icmpTimeExceeded:
		return fmt.Errorf("time to live exceeded, from %v", r.From)
	case r.Type == icmpUnreachable && r.Code == codeFragNeeded:
		return fmt.Errorf("message too long, mtu=%d, from %v", r.MTU, r.From)
	case r.Type == icmpUnreachable:
		return fmt.Errorf("%s, from %v", unreachableText(r.Code), r.From)
	}
	return fmt.Errorf("ICMP type %d code %d, from %v", r.Type, r.Code, r.From)
}

func unreachableText(code byte) string {
	switch code {
	case codeNet:
		return "destination net unreachable"
	case codeHost:
		return "destination host unreachable"
	case codeProtocol:
		return "destination protocol unreachable"
	case codePort:
		return "destination port unreachable"
	case codeProhibited:
		return "packet filtered"
	}
	return fmt.Sprintf("destination unreachable, code %d", code)
}

// pingReply hands an echo reply to the PingConn that asked. It owns p.
func (h *Host) pingReply(p *packet) {
	msg := p.ip().payload()
	h.pingResult(p, binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:]))
}

// pingError hands an ICMP error about an echo request to whoever sent it.
func (h *Host) pingError(p *packet, quoted ipv4) {
	msg := quoted.payload()
	if msg[0] != icmpEcho {
		h.drop(p, DropNoSocket)
		return
	}
	h.pingResult(p, binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:]))
}

func (h *Host) pingResult(p *packet, id, seq uint16) {
	c := h.pings[id]
	if c == nil {
		h.drop(p, DropNoSocket)
		return
	}
	sent := c.sent[seq]
	if sent == nil {
		h.drop(p, DropNoSocket)
		return
	}
	r := replyOf(p.ip())
	r.Seq, r.RTT, r.Duplicate = seq, h.now()-sent.at, sent.answered
	sent.answered = true
	if len(c.got) == maxReplies {
		h.drop(p, DropNoSocket)
		return
	}
	c.got = append(c.got, r)
	c.wait.Wake()
	p.frame.Release()
}

// replyOf reads the answer in an ICMP packet whose header is whole.
func replyOf(ip ipv4) PingReply {
	msg := ip.payload()
	r := PingReply{From: ip.src(), TTL: ip.ttl(), Size: len(msg), Type: msg[0], Code: msg[1]}
	if r.Type == icmpUnreachable && r.Code == codeFragNeeded {
		r.MTU = int(binary.BigEndian.Uint16(msg[6:]))
	}
	return r
}
