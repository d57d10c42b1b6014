package netfilter

// index cuts a chain into segments. Within a keyed segment every rule asks for one exact value of the same thing, for
// example a destination address, protocol and port, and a map leads from what a packet has to the rules that could
// match. That keeps kube-proxy's KUBE-SERVICES, with one such rule per service port, at the cost of a map lookup.
//
// Rules that the map passes over fail at that exact test, and nothing before it has side effects, so the first match,
// counters and random draws are those of a linear walk.
type index struct {
	segments []segment
}

// segment is a run of rules [start, end) that are found in the same way.
type segment struct {
	start, end int32
	class      keyClass
	heads      map[key]int32    // first rule per key
	names      map[string]int32 // first rule per interface name
	next       []int32          // next rule with the same key, or -1; nil when no key occurs twice
}

// keyClass says what the rules of a segment ask for.
type keyClass uint8

const (
	linear keyClass = iota
	byDstPort
	byDst
	bySrc
	byPort
	byIn
	byOut
	numClasses
)

// key is a value of one class; what the class does not use is zero.
type key struct {
	addr  u128
	port  uint16
	proto uint8
}

// minSegment is the shortest run that is worth a map.
const minSegment = 8

func newIndex(rules []*Rule) index {
	var idx index
	for i := 0; i < len(rules); {
		class, end := longestRun(rules, i)
		if end-i < minSegment {
			idx.addLinear(i)
			i++
			continue
		}
		idx.segments = append(idx.segments, newSegment(rules, class, i, end))
		i = end
	}
	return idx
}

// addLinear extends the last segment by rule i, or begins one.
func (x *index) addLinear(i int) {
	if n := len(x.segments); n > 0 && x.segments[n-1].class == linear {
		x.segments[n-1].end++
		return
	}
	x.segments = append(x.segments, segment{start: int32(i), end: int32(i) + 1})
}

// longestRun finds the class that covers most rules from i on; the more selective class wins a tie.
func longestRun(rules []*Rule, i int) (best keyClass, end int) {
	end = i
	for class := linear + 1; class < numClasses; class++ {
		j := i
		for j < len(rules) && rules[j].hasKey(class) {
			j++
		}
		if j > end {
			best, end = class, j
		}
	}
	return best, end
}

func newSegment(rules []*Rule, class keyClass, start, end int) segment {
	s := segment{start: int32(start), end: int32(end), class: class}
	if class == byIn || class == byOut {
		s.names = make(map[string]int32)
	} else {
		s.heads = make(map[key]int32, end-start)
	}
	for i := end - 1; i >= start; i-- { // backwards, so that the first rule of a key ends up as its head
		old, found := s.head(rules[i].key(class))
		if found {
			s.link(i, old)
		}
		s.setHead(rules[i], int32(i))
	}
	return s
}

func (s *segment) head(k key, name string) (int32, bool) {
	if s.names != nil {
		i, ok := s.names[name]
		return i, ok
	}
	i, ok := s.heads[k]
	return i, ok
}

func (s *segment) setHead(r *Rule, i int32) {
	k, name := r.key(s.class)
	if s.names != nil {
		s.names[name] = i
	} else {
		s.heads[k] = i
	}
}

func (s *segment) link(i int, next int32) {
	if s.next == nil {
		s.next = make([]int32, s.end-s.start)
		for j := range s.next {
			s.next[j] = -1
		}
	}
	s.next[int32(i)-s.start] = next
}

// hasKey reports whether the rule asks for an exact value of the class.
func (r *Rule) hasKey(class keyClass) bool {
	switch class {
	case byDstPort:
		return r.dst != nil && r.dst.exact() && r.exactPort() != nil
	case byDst:
		return r.dst != nil && r.dst.exact()
	case bySrc:
		return r.src != nil && r.src.exact()
	case byPort:
		return r.exactPort() != nil
	case byIn:
		return r.in != nil && r.in.exact()
	case byOut:
		return r.out != nil && r.out.exact()
	}
	return false
}

// exactPort is the rule's test for one destination port, unless a match with side effects is asked before it.
func (r *Rule) exactPort() *portMatch {
	for _, m := range r.matches {
		if p, ok := m.matcher.(*portMatch); ok && p.dport.exact() {
			return p
		}
		if _, ok := m.matcher.(impure); ok {
			return nil
		}
	}
	return nil
}

func (r *Rule) key(class keyClass) (k key, name string) {
	switch class {
	case byDstPort, byPort:
		p := r.exactPort()
		k.port, k.proto = p.dport.lo, p.proto
		if class == byDstPort {
			k.addr = r.dst.val
		}
	case byDst:
		k.addr = r.dst.val
	case bySrc:
		k.addr = r.src.val
	case byIn:
		name = r.in.name
	case byOut:
		name = r.out.name
	}
	return k, name
}

// lookup finds the first rule of the segment that the packet could match.
func (s *segment) lookup(e *eval) (int32, bool) {
	var k key
	switch s.class {
	case byDstPort, byPort:
		if e.p.Fragment {
			return 0, false
		}
		k.port, k.proto = e.p.DstPort, e.p.Proto
		if s.class == byDstPort {
			k.addr = e.dst
		}
	case byDst:
		k.addr = e.dst
	case bySrc:
		k.addr = e.src
	case byIn:
		i, ok := s.names[e.p.In]
		return i, ok
	case byOut:
		i, ok := s.names[e.p.Out]
		return i, ok
	}
	i, ok := s.heads[k]
	return i, ok
}

// cursor is a place in a chain: a rule, and the segment it is in. At the end of the chain, rule is the number of rules.
type cursor struct {
	seg, rule int32
}

// enter is the first rule at or after the start of segment seg that the packet could match.
func (x *index) enter(e *eval, seg int32, total int) cursor {
	for ; int(seg) < len(x.segments); seg++ {
		s := &x.segments[seg]
		if s.class == linear {
			return cursor{seg, s.start}
		}
		if i, ok := s.lookup(e); ok {
			return cursor{seg, i}
		}
	}
	return cursor{seg, int32(total)}
}

// after is the next rule that the packet could match.
func (x *index) after(e *eval, c cursor, total int) cursor {
	s := &x.segments[c.seg]
	switch {
	case s.class == linear:
		if c.rule+1 < s.end {
			return cursor{c.seg, c.rule + 1}
		}
	case s.next != nil:
		if i := s.next[c.rule-s.start]; i >= 0 {
			return cursor{c.seg, i}
		}
	}
	return x.enter(e, c.seg+1, total)
}
