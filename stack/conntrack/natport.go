package conntrack

// port returns the field of k that manip m changes to make a tuple unique; nil if the protocol has none.
func (m Manip) port(k *key) *uint16 {
	switch k.proto {
	case protoTCP, protoUDP, protoSCTP:
		if m == Dst {
			return &k.dport
		}
		return &k.sport
	case protoICMP:
		return &k.sport // the identifier, the same in both directions
	}
	return nil
}

func (r *natRange) hasPort(k *key, m Manip) bool {
	p := m.port(k)
	return p == nil || *p >= r.minPort && *p <= r.maxPort
}

// uniqueTuple returns what the flow of e, whose packets look like k so far, shall look like after m.
func (t *Table) uniqueTuple(e *Entry, k key, m Manip, r *natRange) (key, bool) {
	if m == Src && !r.random {
		if (!r.setAddr || r.hasAddr(k.src)) && (!r.setPort || r.hasPort(&k, Src)) {
			if !t.taken(e, &k) {
				return k, true
			}
		} else if same, ok := t.sameSource(&k, r); ok && !t.taken(e, &same) {
			return same, true
		}
	}
	if r.setAddr {
		if m == Src {
			k.src = r.pickAddr(&k)
		} else {
			k.dst = r.pickAddr(&k)
		}
	}
	if !r.random {
		if !r.setPort && !t.taken(e, &k) {
			return k, true
		}
		// A range of one port is taken at its word; if that tuple exists, Confirm refuses the flow.
		if r.setPort && r.hasPort(&k, m) && (r.minPort == r.maxPort || !t.taken(e, &k)) {
			return k, true
		}
	}
	return t.uniquePort(e, k, m, r)
}

// Bounds of the search for a port.
const (
	maxPortTries  = 128
	lastPortTries = 16
	evictPortFrom = maxPortTries / 4 // tries left at which flows in TIME_WAIT may go
)

// uniquePort looks for a port that makes k unique. Where the port cannot be changed it returns k as it is: two flows may
// share the reply tuple after DNAT, and SNAT, whose turn comes later, tells them apart.
func (t *Table) uniquePort(e *Entry, k key, m Manip, r *natRange) (key, bool) {
	port := m.port(&k)
	if port == nil || m == Dst && !r.setPort {
		return k, m == Dst || !t.taken(e, &k)
	}
	low, size := portClass(k.proto, *port)
	if r.setPort {
		low, size = uint32(r.minPort), uint32(r.maxPort-r.minPort)+1
	}
	offset := uint32(0)
	if m == Src || r.random {
		offset = t.rng.Uint32N(size)
	}
	for tries := min(maxPortTries, size); ; tries /= 2 {
		for left := tries; left > 0; left, offset = left-1, offset+1 {
			*port = uint16(low + offset%size)
			if !t.takenHarder(e, &k, left) {
				return k, true
			}
		}
		if tries >= size || tries < lastPortTries {
			return k, m == Dst
		}
		offset = t.rng.Uint32N(size)
	}
}

// portClass returns the ports that may replace port when no range was given: privileged ports stay privileged, and those
// below 512, which prove identity to rsh and its kin, stay below 512.
func portClass(proto uint8, port uint16) (low, size uint32) {
	switch {
	case proto == protoICMP:
		return 0, 65536
	case port < 512:
		return 1, 511
	case port < 1024:
		return 600, 1023 - 600 + 1
	}
	return 1024, 65536 - 1024
}

// taken reports whether the answers to packets that look like k would be mistaken for those of a flow in the table. A flow
// with the very same original tuple as e does not count: it is e, tracked twice, and Confirm sorts that out.
func (t *Table) taken(e *Entry, k *key) bool { return t.holder(e, k) != nil }

// holder returns the node that makes k taken, or nil.
func (t *Table) holder(e *Entry, k *key) *node {
	reply, _ := k.invert()
	n := t.find(&reply, t.hash.hash(&reply))
	if n == nil || n.entry.node[Original].key == e.node[Original].key {
		return nil
	}
	return n
}

// takenHarder is taken, except that with few tries left a translated TCP flow that has ended yields its port to a new one
// whose sequence numbers are ahead, so that no late segment can be mistaken.
func (t *Table) takenHarder(e *Entry, k *key, left uint32) bool {
	n := t.holder(e, k)
	if n == nil {
		return false
	}
	old := n.entry
	if left > evictPortFrom || k.proto != protoTCP || n.dir != Reply || e.proto.tcp.state != tcpSynSent ||
		old.proto.tcp.state < tcpTimeWait || old.status&SrcNAT == 0 ||
		!after(e.proto.tcp.seen[Original].end, old.proto.tcp.seen[Original].end) {
		return true
	}
	t.remove(old)
	return false
}

// sourceKey is the sending end of a flow: where it comes from, whoever it talks to.
type sourceKey struct {
	src    addr
	port   uint16
	proto  uint8
	family uint8
}

func sourceOf(k *key) sourceKey {
	return sourceKey{src: k.src, port: k.sport, proto: k.proto, family: k.family}
}

// sameSource returns k with the source that another flow of the same sender was given, if that is in the range: a sender
// keeps its translated port for all its destinations while it can.
func (t *Table) sameSource(k *key, r *natRange) (key, bool) {
	for other := t.bySource[sourceOf(k)]; other != nil; other = other.sourceNext {
		if other.deadline <= t.now {
			continue
		}
		mapped := *k
		reply := &other.node[Reply].key
		mapped.src, mapped.sport = reply.dst, reply.dport
		if k.proto == protoICMP {
			mapped.sport = reply.sport
		}
		if (!r.setAddr || r.hasAddr(mapped.src)) && (!r.setPort || r.hasPort(&mapped, Src)) {
			return mapped, true
		}
	}
	return key{}, false
}

func (t *Table) linkSource(e *Entry) {
	if e.status&SrcNAT == 0 {
		return
	}
	at := sourceOf(&e.node[Original].key)
	if e.sourceNext = t.bySource[at]; e.sourceNext != nil {
		e.sourceNext.sourcePrev = e
	}
	t.bySource[at] = e
}

func (t *Table) unlinkSource(e *Entry) {
	if e.status&SrcNAT == 0 {
		return
	}
	if e.sourceNext != nil {
		e.sourceNext.sourcePrev = e.sourcePrev
	}
	switch at := sourceOf(&e.node[Original].key); {
	case e.sourcePrev != nil:
		e.sourcePrev.sourceNext = e.sourceNext
	case e.sourceNext != nil:
		t.bySource[at] = e.sourceNext
	default:
		delete(t.bySource, at)
	}
	e.sourceNext, e.sourcePrev = nil, nil
}
