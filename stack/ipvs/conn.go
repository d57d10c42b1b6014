package ipvs

import (
	"container/heap"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Conn is a connection, or the template by which a client sticks to a server.
type Conn struct {
	Proto                   uint8
	Client, Service, Server netip.AddrPort
	Template                bool

	server   *Server
	state    tcpState
	inactive bool
	control  *Conn // the template that it came from
	controls int   // connections that came from it
	assured  bool  // of a template: a connection was established
	timeout  time.Duration
	deadline time.Duration
	queued   time.Duration
	place    int
	dead     bool
}

// connKey finds a connection by what a packet says: of a packet to a service the client, of one from a server the server
// is the source.
type connKey struct {
	proto    uint8
	template bool
	src, dst netip.AddrPort
}

func (c *Conn) inKey() connKey  { return connKey{c.Proto, c.Template, c.Client, c.Service} }
func (c *Conn) outKey() connKey { return connKey{c.Proto, false, c.Server, c.Client} }

// Deadline is when the connection ends unless a packet comes.
func (c *Conn) Deadline() time.Duration { return c.deadline }

// State is the state as ipvsadm -Lc prints it.
func (c *Conn) State() string {
	switch {
	case c.Template && c.assured:
		return "ASSURED"
	case c.Template:
		return "NONE"
	case c.Proto == protoUDP:
		return "UDP"
	}
	return tcpNames[c.state]
}

// String is the connection as ipvsadm -Lnc lists it, but for its time.
func (c *Conn) String() string {
	return fmt.Sprintf("%s %s %v %v %v", protoName(c.Proto), c.State(), c.Client, c.Service, c.Server)
}

// Conns lists the connections at a time, by protocol and addresses.
func (t *Table) Conns(now time.Duration) []*Conn {
	t.advance(now)
	list := make([]*Conn, 0, len(t.in))
	for _, c := range t.in {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Conn) int {
		switch {
		case a.Proto != b.Proto:
			return int(a.Proto) - int(b.Proto)
		case a.Service != b.Service:
			return a.Service.Compare(b.Service)
		}
		return a.Client.Compare(b.Client)
	})
	return list
}

// connect makes a connection to a server.
func (t *Table) connect(k Key, client netip.AddrPort, d *Server, template bool) *Conn {
	c := &Conn{Proto: k.Proto, Client: client, Service: k.Addr, Server: d.Addr, Template: template, server: d, timeout: 3 * time.Second}
	if template {
		d.Persistent++
	} else {
		d.Active++
		t.out[c.outKey()] = c
	}
	t.in[c.inKey()] = c
	c.deadline = t.now + c.timeout
	c.queued = c.deadline
	heap.Push(&t.expiry, c)
	return c
}

// touch begins the connection's time anew (ip_vs_conn_put).
func (t *Table) touch(c *Conn) {
	if c.deadline = t.now + c.timeout; c.deadline < c.queued {
		c.queued = c.deadline
		heap.Fix(&t.expiry, c.place)
	}
}

// end takes a connection away.
func (t *Table) end(c *Conn) {
	if c.dead {
		return
	}
	c.dead = true
	heap.Remove(&t.expiry, c.place)
	if t.in[c.inKey()] == c {
		delete(t.in, c.inKey())
	}
	if !c.Template && t.out[c.outKey()] == c {
		delete(t.out, c.outKey())
	}
	switch {
	case c.Template:
		c.server.Persistent--
	case c.inactive:
		c.server.Inactive--
	default:
		c.server.Active--
	}
	if c.control != nil {
		c.control.controls--
	}
	if d := c.server; d.gone && d.Active+d.Inactive+d.Persistent == 0 {
		delete(t.trash, trashKey{Key{c.Proto, c.Service}, d.Addr})
	}
	if t.OnExpire != nil && !c.Template {
		t.OnExpire(c)
	}
}

// controlled is how long a template stays on that connections still come from, again and again.
const controlled = 60 * time.Second

// Advance ends what has run out at a time. Everything else does that too.
func (t *Table) Advance(now time.Duration) { t.advance(now) }

// advance moves time forward and ends what has run out on the way.
func (t *Table) advance(now time.Duration) {
	for len(t.expiry) > 0 && t.expiry[0].queued <= now {
		c := t.expiry[0]
		switch t.now = max(t.now, c.queued); {
		case c.deadline > c.queued:
			c.queued = c.deadline
			heap.Fix(&t.expiry, 0)
		case c.controls > 0:
			c.timeout = controlled
			c.deadline = c.queued + controlled
			c.queued = c.deadline
			heap.Fix(&t.expiry, 0)
		default:
			t.end(c)
		}
	}
	t.now = max(t.now, now)
}

// expiryQueue is a heap by the time at which a connection is looked at, never later than its deadline.
type expiryQueue []*Conn

// Len implements heap.Interface.
func (q expiryQueue) Len() int { return len(q) }

// Less implements heap.Interface. A template comes before what came from it: the last packet of a connection is later
// than its first, on any network.
func (q expiryQueue) Less(i, j int) bool {
	if q[i].queued != q[j].queued {
		return q[i].queued < q[j].queued
	}
	return q[i].Template && !q[j].Template
}

// Swap implements heap.Interface.
func (q expiryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *expiryQueue) Push(x any) {
	c := x.(*Conn)
	c.place = len(*q)
	*q = append(*q, c)
}

// Pop implements heap.Interface.
func (q *expiryQueue) Pop() any {
	old := *q
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return c
}
