package diff

import (
	"fmt"
	"hash/maphash"
	"slices"
)

// A pair is two packets, or two flows, that belong together; one of them is
// nil where the other capture has none.
type pair[T any] struct{ a, b *T }

// pairFlows finds for every flow its counterpart: by its ends and ports; what
// is left by its addresses; what is left then by the server's port, and by the
// client if that leaves nothing over.
func pairFlows(a, b []*flow) []pair[flow] {
	var pairs []pair[flow]
	for level := range sigLevels {
		sig := func(f *flow) string { return f.signatures()[level] }
		groups := map[string][]*flow{}
		for _, f := range b {
			groups[sig(f)] = append(groups[sig(f)], f)
		}
		mine := map[string][]*flow{}
		var order []string
		for _, f := range a {
			if s := sig(f); mine[s] == nil {
				order = append(order, s)
			}
			mine[sig(f)] = append(mine[sig(f)], f)
		}
		done := map[*flow]bool{}
		for _, s := range order {
			if level == sigLevels-1 && len(mine[s]) != len(groups[s]) {
				continue
			}
			for _, p := range inOrder(mine[s], groups[s]) {
				done[p.a], done[p.b] = true, true
				pairs = append(pairs, p)
			}
		}
		isDone := func(f *flow) bool { return done[f] }
		a, b = slices.DeleteFunc(slices.Clone(a), isDone), slices.DeleteFunc(slices.Clone(b), isDone)
	}
	for _, f := range a {
		pairs = append(pairs, pair[flow]{a: f})
	}
	for _, f := range b {
		pairs = append(pairs, pair[flow]{b: f})
	}
	return pairs
}

// maxGrid bounds the work of pairing flows that look alike.
const maxGrid = 1 << 22

// inOrder pairs flows that look alike in the order of their appearance. If one
// side has more, the ones left out are those that fit worst.
func inOrder(a, b []*flow) []pair[flow] {
	var pairs []pair[flow]
	if len(a) == len(b) || len(a) == 0 || len(b) == 0 || len(a)*len(b) > maxGrid {
		for i := range min(len(a), len(b)) {
			pairs = append(pairs, pair[flow]{a[i], b[i]})
		}
		return pairs
	}
	// best[i][j] is the cost of pairing a[i:] with b[j:], where as many are
	// paired as can be.
	best := make([][]int, len(a)+1)
	const never = 1 << 40
	for i := len(a); i >= 0; i-- {
		best[i] = make([]int, len(b)+1)
		for j := len(b); j >= 0; j-- {
			if i == len(a) || j == len(b) {
				best[i][j] = 0
				continue
			}
			c := best[i+1][j+1] + misfit(a[i], b[j])
			if len(a)-i > len(b)-j {
				c = min(c, best[i+1][j])
			}
			if len(b)-j > len(a)-i {
				c = min(c, best[i][j+1])
			}
			best[i][j] = min(c, never)
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case best[i][j] == best[i+1][j+1]+misfit(a[i], b[j]):
			pairs = append(pairs, pair[flow]{a[i], b[j]})
			i, j = i+1, j+1
		case len(a)-i > len(b)-j:
			i++
		default:
			j++
		}
	}
	return pairs
}

// misfit is how many packets of two flows have no counterpart, judged by their
// number and the size of the first ones.
func misfit(a, b *flow) int {
	n := abs(len(a.packets) - len(b.packets))
	for i := range min(len(a.packets), len(b.packets), 32) {
		p, q := a.packets[i], b.packets[i]
		if p.dir != q.dir || len(p.inner().rest) != len(q.inner().rest) {
			n++
		}
	}
	return n
}

func abs(n int) int { return max(n, -n) }

// pairPackets finds for every packet of a flow its counterpart: first those
// that are alike in everything that tells packets of a flow apart, then, with
// what is left, in ever less. The result is in the order of a; what b has
// alone comes last.
func pairPackets(a, b *flow) []pair[packet] {
	var pairs []pair[packet]
	other := make(map[*packet]*packet)
	taken := make(map[*packet]bool)
	for level := range keyLevels {
		free := map[string][]*packet{}
		for _, q := range b.packets {
			if !taken[q] {
				k := key(q, level)
				free[k] = append(free[k], q)
			}
		}
		for _, p := range a.packets {
			if other[p] != nil {
				continue
			}
			if k := key(p, level); len(free[k]) > 0 {
				q := free[k][0]
				free[k], other[p], taken[q] = free[k][1:], q, true
			}
		}
		if len(other) == len(a.packets) || len(other) == len(b.packets) {
			break
		}
	}
	for _, p := range a.packets {
		pairs = append(pairs, pair[packet]{p, other[p]})
	}
	for _, q := range b.packets {
		if !taken[q] {
			pairs = append(pairs, pair[packet]{nil, q})
		}
	}
	return pairs
}

// keyLevels is how many keys a packet has.
const keyLevels = 4

// hashSeed is one for all: keys live as long as a comparison.
var hashSeed = maphash.MakeSeed()

// key describes a packet within its flow; level 0 is the strictest.
func key(p *packet, level int) string {
	l := p.inner()
	head := p.dir
	if l.ip != nil && l.ip.fragment() {
		return fmt.Sprint(head, "fragment", l.ip.offset, l.ip.mf && level < 2)
	}
	body := uint64(0)
	if level == 0 {
		body = maphash.Bytes(hashSeed, l.rest)
	}
	switch {
	case l.tcp != nil:
		return tcpKey(p, l, level, body)
	case l.icmp != nil && l.icmp.echo():
		return fmt.Sprint(head, l.icmp.typ, weaker(level, 3, int(uint16(l.icmp.rest))), weaker(level, 2, len(l.rest)), body)
	case l.icmp != nil:
		return fmt.Sprint(head, l.icmp.typ, weaker(level, 3, int(l.icmp.code)), weaker(level, 2, len(l.rest)), body)
	case l.arp != nil:
		return fmt.Sprint(head, weaker(level, 3, int(l.arp.op)), weaker(level, 2, int(l.dst[0]&1)))
	}
	return fmt.Sprint(head, weaker(level, 2, len(l.rest)), body)
}

// weaker is n below a level, 0 from there on.
func weaker(level, until, n int) int {
	if level < until {
		return n
	}
	return 0
}

// tcpKey is the direction and the sequence number in any case; then the flags
// that a segment is sent for, its length, the acknowledgement, the bytes.
func tcpKey(p *packet, l *level, level int, body uint64) string {
	t := l.tcp
	marks, data := t.flags&(flagSYN|flagFIN|flagRST), len(l.rest) > 0
	switch level {
	case 0:
		return fmt.Sprint(p.dir, l.note.seq, t.flags, l.note.ack, len(l.rest), body)
	case 1:
		return fmt.Sprint(p.dir, l.note.seq, marks, len(l.rest))
	case 2:
		return fmt.Sprint(p.dir, l.note.seq, marks, data)
	}
	return fmt.Sprint(p.dir, l.note.seq, data)
}

// onlyCrossed reports whether a pair that is out of order has changed places only
// with segments of the other direction that were on their way at the same time:
// which of them a capture has first is chance.
func onlyCrossed(p pair[packet], pairs []pair[packet], rank map[*packet]int) bool {
	for _, q := range pairs {
		changed := (rank[p.a] < rank[q.a]) != (rank[p.b] < rank[q.b])
		if q != p && changed && !(crossed(p.a, q.a) && crossed(p.b, q.b)) {
			return false
		}
	}
	return true
}

// crossed reports whether two segments of a connection may have been on their
// way at the same time: they have different directions, and none acknowledges
// the other.
func crossed(p, q *packet) bool {
	a, b := p.inner(), q.inner()
	return a.tcp != nil && b.tcp != nil && !a.tcp.short && !b.tcp.short && p.dir != q.dir && !acknowledges(a, b) && !acknowledges(b, a)
}

// acknowledges reports whether a acknowledges all that b carries, if anything.
func acknowledges(a, b *level) bool {
	n := uint32(max(b.ip.payload-b.tcp.head, 0))
	for _, f := range [2]uint16{flagSYN, flagFIN} {
		if b.tcp.flags&f != 0 {
			n++
		}
	}
	return a.tcp.flags&flagACK != 0 && n > 0 && int32(a.tcp.ack-b.tcp.seq-n) >= 0
}

// moved returns the pairs that are not in the order of the others: those
// outside the longest run that rises on both sides.
func moved(pairs []pair[packet], at func(*packet) int) []pair[packet] {
	var tails []int // of runs by length: index into pairs of the last
	before := make([]int, len(pairs))
	for i, p := range pairs {
		n, _ := slices.BinarySearchFunc(tails, at(p.b), func(t, b int) int { return at(pairs[t].b) - b })
		before[i] = -1
		if n > 0 {
			before[i] = tails[n-1]
		}
		if n == len(tails) {
			tails = append(tails, i)
		} else {
			tails[n] = i
		}
	}
	stays := make([]bool, len(pairs))
	if len(tails) > 0 {
		for i := tails[len(tails)-1]; i >= 0; i = before[i] {
			stays[i] = true
		}
	}
	var out []pair[packet]
	for i, p := range pairs {
		if !stays[i] {
			out = append(out, p)
		}
	}
	return out
}
