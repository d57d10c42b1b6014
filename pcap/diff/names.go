package diff

import (
	"cmp"
	"net/netip"
	"slices"
)

// names maps the MAC and link-local addresses of one capture to those of the
// other, one to one.
type names struct {
	there, here map[string]string
}

// learnNames pairs the addresses that stand at the same place most often. So
// one packet with a wrong address does not spoil the rest.
func learnNames(pairs []pair[packet], sameLink bool) *names {
	type two struct{ a, b string }
	count := map[two]int{}
	var seen []two
	for _, p := range pairs {
		a, b := p.a.names(sameLink), p.b.names(sameLink)
		for i := range min(len(a), len(b)) {
			if a[i] == "" || b[i] == "" {
				continue
			}
			t := two{a[i], b[i]}
			if count[t]++; count[t] == 1 {
				seen = append(seen, t)
			}
		}
	}
	slices.SortStableFunc(seen, func(x, y two) int { return cmp.Compare(count[y], count[x]) })
	n := &names{there: map[string]string{}, here: map[string]string{}}
	for _, t := range seen {
		_, a := n.there[t.a]
		_, b := n.here[t.b]
		if !a && !b {
			n.there[t.a], n.here[t.b] = t.b, t.a
		}
	}
	return n
}

func (n *names) same(a, b string) bool { return n.there[a] == b }

// names lists the addresses of a packet that are compared by name, in an order
// that is the same for all packets with the same headers; "" stands for one
// that has a meaning of its own.
func (p *packet) names(sameLink bool) []string {
	var out []string
	for i, l := range p.levels {
		if l.hasEth && (i > 0 || sameLink) {
			out = append(out, macName(l.src), macName(l.dst))
		}
		if l.arp != nil {
			out = append(out, macName(l.arp.senderMAC), macName(l.arp.targetMAC))
		}
		if l.ip != nil {
			out = append(out, localName(l.ip.src), localName(l.ip.dst))
		}
	}
	return out
}

// macName is a MAC that may differ between captures; "" for broadcast,
// multicast and zero.
func macName(m [6]byte) string {
	if m[0]&1 != 0 || m == [6]byte{} {
		return ""
	}
	return macText(m)
}

// localName is an address that is made from a MAC, "" for others.
func localName(a netip.Addr) string {
	if addrName(a) == a.String() {
		return ""
	}
	return a.String()
}
