package explain

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
)

// question is an ARP request and what came of it.
type question struct {
	first int // in watcher.seen
	asker string
	about netip.Addr
	asked int
	took  time.Duration // until the answer came in; negative: there was none
}

// questions finds the ARP requests that machines have broadcast, one line for
// each address that one of them wanted, by the place of the first.
func (w *watcher) questions(n *names) map[int]string {
	var list []*question
	find := func(asker string, about netip.Addr) *question {
		for _, q := range list {
			if q.asker == asker && q.about == about {
				return q
			}
		}
		return nil
	}
	asked := make(map[uint64]bool) // a request passes several devices of its host
	for i := range w.seen {
		s := &w.seen[i]
		op, about, ok := arp(s)
		if !ok || op == arpRequest && !link.DstMAC(s.raw).IsBroadcast() || // the check of an old entry delays nothing
			s.drop != "" || w.where[s.point].Machine == nil {
			continue
		}
		who := w.by(s)
		q := find(who, about)
		switch {
		case op == arpRequest && s.dir == link.Out && !asked[s.id]:
			if asked[s.id] = true; q == nil {
				q = &question{first: i, asker: who, about: about, took: -1}
				list = append(list, q)
			}
			q.asked++
		case op == arpReply && s.dir == link.In && q != nil && q.took < 0:
			q.took = s.at - w.seen[q.first].at
		}
	}
	lines := make(map[int]string)
	for _, q := range list {
		lines[q.first] = q.line(n)
	}
	return lines
}

// line tells a question in one line.
func (q *question) line(n *names) string {
	times := ""
	if q.asked > 1 {
		times = fmt.Sprintf(", %d times", q.asked)
	}
	if q.took < 0 {
		return fmt.Sprintf("ARP: who has %s%s? nobody answers", n.or(q.about), times)
	}
	when := "at once"
	if q.took > 0 {
		when = fmt.Sprintf("after %v", q.took)
	}
	return fmt.Sprintf("ARP: who has %s%s? answered %s", n.or(q.about), times, when)
}

// ARP operations (RFC 826).
const (
	arpRequest = 1
	arpReply   = 2
)

// arp reads an ARP packet: whom a request is about, whom a reply is from.
func arp(s *sight) (op uint16, about netip.Addr, ok bool) {
	const length = 28
	if s.point.Type != link.LinkEthernet || len(s.raw) < link.EthernetHeader+length || link.EtherType(s.raw) != 0x0806 {
		return 0, about, false
	}
	b := s.raw[link.EthernetHeader:]
	if op = binary.BigEndian.Uint16(b[6:]); op == arpRequest {
		return op, netip.AddrFrom4([4]byte(b[24:28])), true
	}
	return op, netip.AddrFrom4([4]byte(b[14:18])), true
}
