package stack

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/podwire/podwire/link"
)

// reachRoll is how long a device keeps one random reachable time.
const reachRoll = 300 * time.Second

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
	dev       *Device
	addr      netip.Addr
	mac       link.MAC
	state     NeighState
	confirmed time.Duration // when it was last certain that the neighbour is there
	updated   time.Duration // when mac or state was last changed
	touched   time.Duration // when a packet was last sent there
	reach     time.Duration // how long a confirmation lasts
	probes    int
	timer     *link.Timer
	queue     []packet // waiting for the answer

	older, newer *neighbour // of those that may be collected, see neighgc.go
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
	host    *Host
	entries map[neighKey]*neighbour
	listed  neighList // of entries: those that are not permanent
	swept   time.Duration
	forced  time.Duration // when room was last made by force
	barren  time.Duration // until then there is no more to be had by force
	rng     *rand.Rand
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
		if !t.room() {
			return nil
		}
		n = &neighbour{dev: dev, addr: addr, state: NeighFailed, updated: t.host.drv.Now()}
		t.entries[k] = n
		t.listed.push(n)
	}
	dev.recent = n
	return n
}

// pin makes an entry that stays as it is, however full the table is.
func (t *neighTable) pin(dev *Device, addr netip.Addr, mac link.MAC) {
	k := neighKey{dev, addr}
	n := t.entries[k]
	if n == nil {
		n = &neighbour{dev: dev, addr: addr, state: NeighPermanent}
		t.entries[k] = n
	} else if n.state != NeighPermanent {
		t.listed.remove(n)
	}
	t.settle(n, NeighPermanent)
	n.mac = mac
	t.flush(n)
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
	if n.state != NeighPermanent {
		t.listed.remove(n)
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
	n.touched = t.host.drv.Now()
	if n.state == NeighReachable && t.host.drv.Now() >= n.expires() {
		n.state, n.updated = NeighStale, n.expires()
	}
	if n.state == NeighStale {
		t.used(n)
	}
}

// expires is when a REACHABLE entry becomes STALE.
func (n *neighbour) expires() time.Duration { return n.confirmed + n.reach }

// param is a time of the entry's device in the given unit.
func (n *neighbour) param(p confParam, unit time.Duration) time.Duration {
	return time.Duration(n.dev.conf[p]) * unit
}

// used starts the wait for a confirmation after a stale entry has been used.
func (t *neighTable) used(n *neighbour) {
	n.state, n.updated = NeighDelay, t.host.drv.Now()
	n.dev.unsure++
	n.after(t, n.param(neighDelayProbe, time.Second), func() { t.delayed(n) })
}

// delayed ends the wait: TCP has confirmed the neighbour meanwhile, or it is
// asked.
func (t *neighTable) delayed(n *neighbour) {
	now := t.host.drv.Now()
	if now <= n.confirmed+n.param(neighDelayProbe, time.Second) {
		t.settle(n, NeighReachable)
		n.reach = n.dev.reachable(t, now)
		return
	}
	n.state, n.updated, n.probes = NeighProbe, now, 0
	t.probe(n)
}

// probe asks a neighbour that is known but not confirmed, unicast.
func (t *neighTable) probe(n *neighbour) {
	if n.probes >= int(n.dev.conf[neighUcastSolicit]) {
		n.dev.unsure--
		t.fail(n)
		return
	}
	n.probes++
	t.host.sendARPRequest(n.dev, n.addr, n.mac, nil)
	n.after(t, n.param(neighRetrans, time.Millisecond), func() { t.probe(n) })
}

// wait queues pkt and starts asking if nobody has asked yet.
func (t *neighTable) wait(n *neighbour, pkt packet) {
	if len(n.queue) > 0 && len(n.queue) >= int(n.dev.conf[neighUnresolved]) {
		n.dev.point.Drop(n.queue[0].frame, DropNeighQueue)
		n.queue = n.queue[1:]
	}
	n.queue = append(n.queue, pkt)
	t.ask(n)
}

// ask starts asking for a neighbour, whether or not a packet waits for it.
func (t *neighTable) ask(n *neighbour) {
	if n.state == NeighFailed {
		n.state, n.probes, n.updated = NeighIncomplete, 0, t.host.drv.Now()
		t.solicit(n)
	}
}

// solicit asks everybody on the link, as often as mcast_solicit says: three
// times, a second apart.
func (t *neighTable) solicit(n *neighbour) {
	if n.probes >= int(n.dev.conf[neighMcastSolicit]) {
		t.fail(n)
		return
	}
	n.probes++
	var waiting *packet
	if last := len(n.queue) - 1; last >= 0 {
		waiting = &n.queue[last]
	}
	t.host.sendARPRequest(n.dev, n.addr, link.MAC{}, waiting)
	n.after(t, n.param(neighRetrans, time.Millisecond), func() { t.solicit(n) })
}

// fail gives up: what waited is host unreachable.
func (t *neighTable) fail(n *neighbour) {
	n.stopTimer()
	n.state, n.updated = NeighFailed, t.host.drv.Now()
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

// heard says how the host has come to know of a neighbour's address.
type heard struct {
	request  bool // by a request for an address of the host: makes an entry, always counts
	answer   bool // by an answer to the host alone: the neighbour is there
	override bool // by an announcement, which counts also within locktime
	create   bool // an entry may be made for it
	onlyNews bool // without request and create, only an entry that exists changes
}

// learn records that addr is at mac (neigh_update). Within locktime after a
// change another address is not believed, unless it is announced: of several
// answers the first counts.
func (t *neighTable) learn(dev *Device, addr netip.Addr, mac link.MAC, how heard) {
	n := t.entries[neighKey{dev, addr}]
	if n == nil {
		if how.onlyNews && !how.create {
			return
		}
		if n = t.get(dev, addr); n == nil {
			dev.point.Count(DropNeighTable)
			return
		}
	}
	now := t.host.drv.Now()
	moved := n.mac != mac
	switch {
	case n.state == NeighPermanent:
		return
	case n.known() && moved && how.onlyNews && !how.override && now <= n.updated+n.param(neighLocktime, jiffy):
		return
	}
	n.mac = mac
	switch {
	case how.answer:
		if moved || n.state != NeighReachable {
			n.updated = now
		}
		t.confirm(n)
	case moved || !n.known():
		t.settle(n, NeighStale)
		n.updated, n.confirmed = now, now-2*n.param(neighBaseReachable, time.Millisecond)
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

// confirm makes n reachable for its device's reachable time.
func (t *neighTable) confirm(n *neighbour) {
	t.settle(n, NeighReachable)
	n.confirmed = t.host.drv.Now()
	n.reach = n.dev.reachable(t, n.confirmed)
}

// reachable is how long a confirmation lasts on the device: 0.5 to 1.5 times
// base_reachable_time, chosen anew every 300 s (RFC 4861 §6.3.2).
func (d *Device) reachable(t *neighTable, now time.Duration) time.Duration {
	base := time.Duration(d.conf[neighBaseReachable]) * time.Millisecond
	if d.reach == 0 || now-d.reachAt >= reachRoll || base != d.reachBase {
		d.reach, d.reachAt, d.reachBase = base/2+time.Duration(t.rng.Int64N(int64(base))), now, base
	}
	return d.reach
}

// confirmAddr is what TCP does with progress on a connection: the neighbour is
// evidently there. A stale entry stays so until it is used; one that waits for
// a confirmation notices when its wait ends; one that is being asked already
// waits for the answer.
func (t *neighTable) confirmAddr(dev *Device, addr netip.Addr) {
	if n := t.entries[neighKey{dev, addr}]; n != nil && n.stateAt(t.host.drv.Now()) != NeighStale {
		n.confirmed = t.host.drv.Now()
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
