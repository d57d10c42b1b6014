package link

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// DefaultAgeing is how long a bridge remembers where an address was last seen,
// as on Linux (IEEE 802.1D §7.9.2 recommends the same 300 s).
const DefaultAgeing = 300 * time.Second

// maxFDB bounds what a bridge learns, so that a flood of forged addresses
// cannot eat the machine. Linux has no limit by default; it has less to lose.
const maxFDB = 1 << 16

// A Bridge is a learning Ethernet bridge: it learns where addresses are from
// the frames it sees, moves an address that appears at another port, forgets
// what it has not seen for Ageing, and floods what it does not know. Its
// methods want the driver's lock.
type Bridge struct {
	Name   string
	Ageing time.Duration // 0 means DefaultAgeing

	// Local, if set, receives what is meant for the host that owns the bridge:
	// frames to LocalMAC, groups, and floods. It is also shown every frame that
	// goes from port to port, with copied set: then it must not keep or change
	// it. Linux does the same for a bridge that tcpdump listens on.
	Local    func(f *Frame, in *BridgePort, copied bool)
	LocalMAC MAC

	// Filter, if set, is shown every frame at three stages, as br_netfilter is,
	// and may change its bytes. It returns nil for a frame that it has taken.
	Filter BridgeFilter

	drv   *Driver
	ports []*BridgePort
	fdb   map[uint64]*fdbEntry
	swept time.Duration // when aged entries were last removed for want of room
	point *Point
}

// A BridgeFilter is shown frames on their way through a bridge.
type BridgeFilter interface {
	// BridgeIn is called before the forwarding decision.
	BridgeIn(f *Frame, in *BridgePort) *Frame
	// BridgeForward is called once for every port that f is about to leave by,
	// after the decision, and again says what goes out. It may send several
	// frames itself with [BridgePort.Transmit] and return nil.
	BridgeForward(f *Frame, in, out *BridgePort) *Frame
}

// A BridgePort is a bridge's view of something plugged into it.
type BridgePort struct {
	Name     string
	Hairpin  bool // frames may leave by the port they came from
	Isolated bool // may not talk to other isolated ports
	MTU      int  // larger payloads are dropped in silence; 0 means unlimited

	// Point, if set, is told of every frame that comes in or goes out.
	Point *Point

	bridge *Bridge
	medium *Port
}

// fdbEntry says where an address is.
type fdbEntry struct {
	mac    MAC
	port   *BridgePort
	seen   time.Duration
	static bool
}

// NewBridge returns a bridge without ports.
func (d *Driver) NewBridge(name string) *Bridge {
	return &Bridge{Name: name, drv: d, fdb: make(map[uint64]*fdbEntry), point: d.NewPoint(name, LinkEthernet)}
}

// Point returns where the bridge counts frames that it forwards nowhere.
func (b *Bridge) Point() *Point { return b.point }

// AddPort plugs medium into the bridge and binds its receiver.
func (b *Bridge) AddPort(name string, medium *Port) *BridgePort {
	p := &BridgePort{Name: name, bridge: b, medium: medium}
	b.ports = append(b.ports, p)
	medium.Bind(func(f *Frame) { b.receive(f, p) })
	return p
}

// RemovePort unplugs p and forgets the addresses behind it.
func (b *Bridge) RemovePort(p *BridgePort) {
	b.ports = slices.DeleteFunc(b.ports, func(q *BridgePort) bool { return q == p })
	for k, e := range b.fdb {
		if e.port == p {
			delete(b.fdb, k)
		}
	}
	p.medium.Bind(nil)
}

// Carrier reports whether the bridge device has a carrier: one of its ports
// does.
func (b *Bridge) Carrier() bool {
	return slices.ContainsFunc(b.ports, func(p *BridgePort) bool { return p.medium.Up() })
}

// Ports returns the ports in the order in which they were added.
func (b *Bridge) Ports() []*BridgePort { return slices.Clone(b.ports) }

// Bridge returns the bridge that p belongs to.
func (p *BridgePort) Bridge() *Bridge { return p.bridge }

// AddStatic pins an address to a port: it is neither learned away nor aged.
func (b *Bridge) AddStatic(mac MAC, p *BridgePort) {
	b.fdb[mac.key()] = &fdbEntry{mac: mac, port: p, static: true}
}

// An FDBEntry is one line of `bridge fdb`.
type FDBEntry struct {
	MAC    MAC
	Port   string
	Age    time.Duration
	Static bool
}

// FDB lists the forwarding database, ordered by address, without what has aged.
func (b *Bridge) FDB() []FDBEntry {
	var out []FDBEntry
	for _, e := range b.fdb {
		if !b.aged(e) {
			out = append(out, FDBEntry{MAC: e.mac, Port: e.port.Name, Age: b.drv.now - e.seen, Static: e.static})
		}
	}
	slices.SortFunc(out, func(x, y FDBEntry) int { return cmp.Compare(x.MAC.key(), y.MAC.key()) })
	return out
}

func (b *Bridge) aged(e *fdbEntry) bool {
	ageing := b.Ageing
	if ageing == 0 {
		ageing = DefaultAgeing
	}
	return !e.static && b.drv.now-e.seen >= ageing
}

// isLinkLocalGroup reports whether mac is one of 01:80:c2:00:00:01 to 0f, which
// a bridge never forwards (IEEE 802.1D §7.12.6). The first of the block, that of
// spanning tree, passes a Linux bridge on which spanning tree is off, so that
// others can find loops through it.
func isLinkLocalGroup(mac MAC) bool {
	return mac.key()&^0xf == 0x0180c2000000 && mac.key()&0xf != 0
}

// receive handles a frame that came in by a port.
func (b *Bridge) receive(f *Frame, in *BridgePort) {
	if in.MTU > 0 && f.Len()-EthernetHeader > in.MTU {
		b.point.Drop(f, DropMTU) // as veth_xmit does for the receiving end
		return
	}
	if in.Point != nil {
		in.Point.Pass(f, In)
	}
	if f.Len() < EthernetHeader {
		b.point.Drop(f, DropRunt)
		return
	}
	src, dst := SrcMAC(f.Bytes()), DstMAC(f.Bytes())
	switch {
	case f.goesRound(b.drv.now):
		b.point.Drop(f, DropLoop)
		return
	case src.IsMulticast() || src.IsZero():
		b.point.Drop(f, DropSource)
		return
	case isLinkLocalGroup(dst):
		b.point.Drop(f, DropLinkLocal)
		return
	}
	b.learn(src, in)
	if b.Filter != nil {
		if f = b.Filter.BridgeIn(f, in); f == nil {
			return
		}
	}
	b.Decide(f, in)
}

// Decide forwards a frame that has been let in: to the host, to the port where
// its destination was last seen, or to all ports. A filter that has rewritten
// a frame calls it to continue.
func (b *Bridge) Decide(f *Frame, in *BridgePort) {
	dst := DstMAC(f.Bytes())
	switch {
	case dst.IsMulticast():
		b.flood(f, in, true)
	case dst == b.LocalMAC && b.Local != nil:
		b.Local(f, in, false)
	default:
		e := b.lookup(dst)
		if e == nil {
			b.flood(f, in, true)
			return
		}
		if b.Local != nil {
			b.Local(f, in, true)
		}
		b.forward(f, in, e.port)
	}
}

// Transmit sends a frame of the host itself out of the bridge. It is not
// learned and not shown to the filter.
func (b *Bridge) Transmit(f *Frame) {
	dst := DstMAC(f.Bytes())
	if !dst.IsMulticast() {
		if e := b.lookup(dst); e != nil {
			b.forward(f, nil, e.port)
			return
		}
	}
	b.flood(f, nil, false)
}

func (b *Bridge) learn(mac MAC, in *BridgePort) {
	e := b.fdb[mac.key()]
	switch {
	case e == nil && len(b.fdb) >= maxFDB && !b.sweep():
		b.point.Count("forwarding database is full")
	case e == nil:
		b.fdb[mac.key()] = &fdbEntry{mac: mac, port: in, seen: b.drv.now}
	case !e.static:
		e.port, e.seen = in, b.drv.now
	}
}

// sweep makes room by forgetting what has aged, at most once a second, and
// reports whether there is room.
func (b *Bridge) sweep() bool {
	if b.drv.now-b.swept < time.Second {
		return false
	}
	b.swept = b.drv.now
	maps.DeleteFunc(b.fdb, func(_ uint64, e *fdbEntry) bool { return b.aged(e) })
	return len(b.fdb) < maxFDB
}

func (b *Bridge) lookup(mac MAC) *fdbEntry {
	e := b.fdb[mac.key()]
	if e == nil {
		return nil
	}
	if b.aged(e) {
		delete(b.fdb, mac.key())
		return nil
	}
	return e
}

// flood sends copies to every port that may have f, and to the host.
func (b *Bridge) flood(f *Frame, in *BridgePort, up bool) {
	if b.drv.storming() {
		b.point.Drop(f, DropStorm)
		return
	}
	for _, p := range b.ports {
		if b.why(f, in, p) == "" {
			b.output(b.drv.Clone(f), in, p)
		}
	}
	if up && b.Local != nil && in != nil {
		b.Local(f, in, false)
		return
	}
	f.Release()
}

func (b *Bridge) forward(f *Frame, in, out *BridgePort) {
	if why := b.why(f, in, out); why != "" {
		b.point.Drop(f, why)
		return
	}
	b.output(f, in, out)
}

// why returns the reason for which f must not leave by out, or "".
func (b *Bridge) why(f *Frame, in, out *BridgePort) Reason {
	switch {
	case in == out && !out.Hairpin:
		return DropOnlyPort
	case in != nil && in.Isolated && out.Isolated:
		return DropIsolated
	}
	return ""
}

func (b *Bridge) output(f *Frame, in, out *BridgePort) {
	if b.Filter != nil && in != nil {
		if f = b.Filter.BridgeForward(f, in, out); f == nil {
			return
		}
	}
	out.Transmit(f)
}

// Transmit sends f out of the port. A bridge is no router: a frame that is
// larger than the port's MTU is dropped in silence.
func (p *BridgePort) Transmit(f *Frame) {
	if p.MTU > 0 && f.Len()-EthernetHeader > p.MTU {
		p.bridge.point.Drop(f, DropMTU)
		return
	}
	if p.Point != nil {
		p.Point.Pass(f, Out)
	}
	p.medium.Send(f)
}
