package link

// fqCodel is flow queue CoDel (RFC 8290): frames are hashed to queues by flow,
// each under CoDel, and the queues take turns by bytes. A flow that sends less
// than its share finds its queue empty and goes ahead of those that build one.
type fqCodel struct {
	x       *direction
	flows   map[uint32]*fqFlow // those that were ever used
	fresh   fifo[*fqFlow]      // new_flows
	old     fifo[*fqFlow]      // old_flows
	salt    uint64
	queues  uint32
	quantum int
}

// fqFlow is the queue of one hash value.
type fqFlow struct {
	q       *fqCodel
	index   uint32
	list    fifo[queued]
	bytes   int
	deficit int
	active  bool // in one of the two lists
	state   codel
}

// Defaults of Linux' fq_codel.
const (
	fqFlows   = 1024
	fqQuantum = 1514
	fqBatch   = 64 // frames that one overload drops at most
)

func newFQCodel(x *direction) *fqCodel {
	q := &fqCodel{x: x, flows: make(map[uint32]*fqFlow), salt: x.rng.Uint64(), queues: uint32(x.cfg.AQM.Flows), quantum: x.cfg.AQM.Quantum}
	if q.queues == 0 {
		q.queues = fqFlows
	}
	if q.quantum == 0 {
		q.quantum = fqQuantum
	}
	return q
}

// flow returns the queue that f belongs to. Without a classifier all frames
// are of one flow.
func (q *fqCodel) flow(f *Frame) *fqFlow {
	var index uint32
	if c := q.x.drv.classifier; c != nil {
		h := (uint64(c.FlowHash(f.Bytes())) ^ q.salt) * 0x9e3779b97f4a7c15 // the golden ratio spreads neighbours
		index = uint32(h>>32) % q.queues
	}
	w := q.flows[index]
	if w == nil {
		w = &fqFlow{q: q, index: index}
		w.state.set(q.x.cfg.AQM)
		q.flows[index] = w
	}
	return w
}

// enqueue is RFC 8290 §4.1.
func (q *fqCodel) enqueue(f *Frame) {
	w := q.flow(f)
	w.list.push(queued{f, q.x.drv.now})
	w.bytes += f.Len()
	q.x.held.add(f)
	if !w.active {
		w.active, w.deficit = true, q.quantum
		q.fresh.push(w)
	}
	if q.x.held.frames > q.x.maxFrames || q.x.held.bytes > q.x.maxBytes {
		q.shed()
	}
}

// shed drops half of the longest queue from its head, at most a batch: the
// search is worth more than one frame.
func (q *fqCodel) shed() {
	var fat *fqFlow
	for _, w := range q.flows {
		if fat == nil || w.bytes > fat.bytes || w.bytes == fat.bytes && w.index < fat.index {
			fat = w
		}
	}
	half := fat.bytes / 2
	for n := 0; n < fqBatch && fat.list.len() > 0 && (n == 0 || fat.bytes > half); n++ {
		item, _ := fat.pop()
		q.x.point.Drop(item.frame, DropQueueFull)
	}
}

// dequeue is RFC 8290 §4.2.
func (q *fqCodel) dequeue() *Frame {
	for {
		list := &q.fresh
		if list.len() == 0 {
			if list = &q.old; list.len() == 0 {
				return nil
			}
		}
		w := list.peek()
		if w.deficit <= 0 {
			w.deficit += q.quantum
			q.old.push(list.pop())
			continue
		}
		f := w.state.dequeue(q.x, w)
		if f != nil {
			w.deficit -= f.Len()
			return f
		}
		list.pop()
		if list == &q.fresh && q.old.len() > 0 {
			q.old.push(w) // so that a flow cannot stay new for ever
			continue
		}
		w.active = false
	}
}

// drain takes all frames, flow by flow in the order of the lists.
func (q *fqCodel) drain() (out []*Frame) {
	for _, list := range []*fifo[*fqFlow]{&q.fresh, &q.old} {
		for list.len() > 0 {
			w := list.pop()
			w.active = false
			out = append(out, drain(w)...)
		}
	}
	return out
}

func (w *fqFlow) pop() (queued, bool) {
	if w.list.len() == 0 {
		return queued{}, false
	}
	item := w.list.pop()
	w.bytes -= item.frame.Len()
	w.q.x.held.remove(item.frame)
	return item, true
}
