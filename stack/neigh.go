package stack

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/podwire/podwire/link"
)

// Neighbour timing, as Linux has it by default (net.ipv4.neigh.default.*).
const (
	baseReachable   = 30 * time.Second // base_reachable_time: used times 0.5 to 1.5
	delayFirstProbe = 5 * time.Second  // delay_first_probe_time
	retransTime     = time.Second      // retrans_time
	mcastProbes     = 3                // mcast_solicit
	ucastProbes     = 3                // ucast_solicit
	maxUnresolved   = 101              // frames queued for one unresolved neighbour
	maxNeighbours   = 1024             // gc_thresh3, which permanent entries do not count against
)

// NeighState is the state of a neighbour entry, in the words of `ip neigh`.
type NeighState string

// Neighbour states (RFC 4861 §7.3.2, as Linux uses them for ARP too).
const (
	NeighIncomplete NeighState = "INCOMPLETE" // asked, not answered yet
	NeighReachable  NeighState = "REACHABLE"  // confirmed lately
	NeighStale      NeighState = "STALE"      // known, not confirmed lately
	NeighDelay      NeighState = "DELAY"      // used while stale, waiting for a confirmation
	NeighProbe      NeighState = "PROBE"      // being asked again, unicast
	NeighFailed     NeighState = "FAILED"     // nobody answered
	NeighPermanent  NeighState = "PERMANENT"  // set by hand
)

// neighbour is one entry of the ARP table.
type neighbour struct {
	dev     *Device
	addr    netip.Addr
	mac     link.MAC
	state   NeighState
	expires time.Duration // of REACHABLE
	probes  int
	timer   *link.Timer
	queue   []packet // waiting for the answer
}

// known reports whether frames may be sent to n.mac.
func (n *neighbour) known() bool {
	return n.state != NeighIncomplete && n.state != NeighFailed
}

type neighKey struct {
	dev  *Device
	addr netip.Addr
}

// neighTable is the ARP table of one host. It acts through the host: timers,
// ARP requests and what becomes of frames that wait.
type neighTable struct {
	host      *Host
	entries   map[neighKey]*neighbour
	permanent int // of entries
	rng       *rand.Rand
}

// get returns the entry, making an INCOMPLETE one without timers if needed. It
// returns nil if the table is full.
func (t *neighTable) get(dev *Device, addr netip.Addr) *neighbour {
	if n := dev.recent; n != nil && n.addr == addr {
		return n
	}
	k := neighKey{dev, addr}
	n := t.entries[k]
	if n == nil {
		if len(t.entries)-t.permanent >= maxNeighbours && !t.evict() {
			return nil
		}
		n = &neighbour{dev: dev, addr: addr, state: NeighFailed}
		t.entries[k] = n
	}
	dev.recent = n
	return n
}

// pin makes an entry that stays as it is, however full the table is.
func (t *neighTable) pin(dev *Device, addr netip.Addr, mac link.MAC) {
	k := neighKey{dev, addr}
	n := t.entries[k]
	if n == nil {
		n = &neighbour{dev: dev, addr: addr, state: NeighFailed}
		t.entries[k] = n
	}
	if n.state != NeighPermanent {
		t.permanent++
	}
	t.settle(n, NeighPermanent)
	n.mac = mac
	t.flush(n)
}

// evict removes one entry that is not in use: the one with the lowest address
// among the stale and failed, so that the choice is repeatable.
func (t *neighTable) evict() bool {
	var victim *neighbour
	for _, n := range t.entries {
		idle := n.state == NeighStale || n.state == NeighFailed || (n.state == NeighReachable && n.expires <= t.host.drv.Now())
		if idle && (victim == nil || n.before(victim)) {
			victim = n
		}
	}
	if victim == nil {
		return false
	}
	t.remove(victim)
	return true
}

func (n *neighbour) before(o *neighbour) bool {
	if c := n.addr.Compare(o.addr); c != 0 {
		return c < 0
	}
	return n.dev.Index < o.dev.Index
}

// of lists the entries of a device, or of all, by device and address.
func (t *neighTable) of(d *Device) []*neighbour {
	var list []*neighbour
	for _, n := range t.entries {
		if d == nil || n.dev == d {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b *neighbour) int {
		if a.dev != b.dev {
			return a.dev.Index - b.dev.Index
		}
		return a.addr.Compare(b.addr)
	})
	return list
}

func (t *neighTable) remove(n *neighbour) {
	if n.state == NeighPermanent {
		t.permanent--
	}
	t.settle(n, NeighFailed)
	t.dropQueue(n)
	delete(t.entries, neighKey{n.dev, n.addr})
	if n.dev.recent == n {
		n.dev.recent = nil
	}
}

func (n *neighbour) stopTimer() {
	if n.timer != nil {
		n.timer.Stop()
	}
}

func (n *neighbour) after(t *neighTable, d time.Duration, f func()) {
	n.stopTimer()
	n.timer = t.host.drv.AfterFunc(t.host.source, d, f)
}

// send gives pkt its Ethernet header and transmits it, or lets it wait while
// the neighbour is asked for. It owns the packet.
func (t *neighTable) send(n *neighbour, pkt packet) {
	if !n.known() {
		t.wait(n, pkt)
		return
	}
	t.touch(n)
	n.dev.sendIP(pkt.frame, n.mac)
}

// touch is send for a caller that only needs the address: it starts what using
// the entry starts.
func (t *neighTable) touch(n *neighbour) {
	if n.state == NeighReachable && t.host.drv.Now() >= n.expires {
		n.state = NeighStale
	}
	if n.state == NeighStale {
		t.used(n)
	}
}

// used starts the wait for a confirmation after a stale entry has been used.
func (t *neighTable) used(n *neighbour) {
	n.state = NeighDelay
	n.dev.unsure++
	n.after(t, delayFirstProbe, func() { t.probe(n) })
}

// probe asks a neighbour that is known but not confirmed, unicast.
func (t *neighTable) probe(n *neighbour) {
	if n.state == NeighDelay {
		n.state, n.probes = NeighProbe, 0
	}
	if n.probes == ucastProbes {
		n.dev.unsure--
		t.fail(n)
		return
	}
	n.probes++
	t.host.sendARPRequest(n.dev, n.addr, n.mac)
	n.after(t, retransTime, func() { t.probe(n) })
}

// wait queues pkt and starts asking if nobody has asked yet.
func (t *neighTable) wait(n *neighbour, pkt packet) {
	if len(n.queue) >= maxUnresolved {
		n.dev.point.Drop(n.queue[0].frame, DropNeighQueue)
		n.queue = n.queue[1:]
	}
	n.queue = append(n.queue, pkt)
	if n.state == NeighFailed {
		n.state, n.probes = NeighIncomplete, 0
		t.solicit(n)
	}
}

// solicit asks everybody on the link, up to three times a second apart.
func (t *neighTable) solicit(n *neighbour) {
	if n.probes == mcastProbes {
		t.fail(n)
		return
	}
	n.probes++
	t.host.sendARPRequest(n.dev, n.addr, link.MAC{})
	n.after(t, retransTime, func() { t.solicit(n) })
}

// fail gives up: what waited is host unreachable.
func (t *neighTable) fail(n *neighbour) {
	n.stopTimer()
	n.state = NeighFailed
	queue := n.queue
	n.queue = nil
	for i := range queue {
		t.host.linkFailure(&queue[i])
	}
}

func (t *neighTable) dropQueue(n *neighbour) {
	for _, p := range n.queue {
		n.dev.point.Drop(p.frame, DropNeighFailed)
	}
	n.queue = nil
}

// learn records that addr is at mac. Reachable says that the neighbour has
// answered us; otherwise we have only heard from it. Create is false for news
// that may change an entry but not make one (gratuitous ARP, arp_accept=0).
func (t *neighTable) learn(dev *Device, addr netip.Addr, mac link.MAC, reachable, create bool) {
	n := t.entries[neighKey{dev, addr}]
	if n == nil {
		if !create {
			return
		}
		if n = t.get(dev, addr); n == nil {
			return
		}
	}
	if n.state == NeighPermanent {
		return
	}
	moved := n.mac != mac
	n.mac = mac
	switch {
	case reachable:
		t.confirm(n)
	case moved || !n.known():
		t.settle(n, NeighStale)
	}
	t.flush(n)
}

// settle enters a state without a timer.
func (t *neighTable) settle(n *neighbour, s NeighState) {
	if n.state == NeighDelay || n.state == NeighProbe {
		n.dev.unsure--
	}
	n.stopTimer()
	n.state = s
}

// confirm makes n reachable for a random time around base_reachable_time.
func (t *neighTable) confirm(n *neighbour) {
	t.settle(n, NeighReachable)
	n.expires = t.host.drv.Now() + baseReachable/2 + time.Duration(t.rng.Int64N(int64(baseReachable)))
}

// confirmAddr is what TCP does with progress on a connection: the neighbour is
// evidently there.
func (t *neighTable) confirmAddr(dev *Device, addr netip.Addr) {
	if n := t.entries[neighKey{dev, addr}]; n != nil && (n.state == NeighDelay || n.state == NeighProbe || n.state == NeighStale) {
		t.confirm(n)
	}
}

// flush sends what has waited for the answer.
func (t *neighTable) flush(n *neighbour) {
	queue := n.queue
	n.queue = nil
	for i := range queue {
		if queue[i].bridged != nil {
			t.host.bridgeResolved(&queue[i], n.mac)
			continue
		}
		t.send(n, queue[i])
	}
}

// A Neighbour is one line of `ip neigh`.
type Neighbour struct {
	Addr  netip.Addr
	Dev   string
	MAC   link.MAC // zero when not known
	State NeighState
}
