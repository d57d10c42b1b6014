package link

// A Port is one end of a medium: a cable, a veth pair, a bridge. A frame sent
// to it never blocks the sender; what the medium delivers goes to the function
// that was bound. All methods want the driver's lock.
type Port struct {
	// Name is for people: "node1/eth0".
	Name string

	drv    *Driver
	send   func(*Frame)
	recv   func(*Frame)
	down   bool
	cabled bool   // its medium is a Wire
	gone   *Point // counts frames for which nobody was bound
}

// NewPort returns a port whose medium is the given function: it is called with
// every frame sent, and owns it. The medium hands frames the other way with
// [Port.Deliver].
func (d *Driver) NewPort(name string, medium func(*Frame)) *Port {
	return &Port{Name: name, drv: d, send: medium, gone: d.NewPoint(name, LinkEthernet)}
}

// Send hands f to the medium.
func (p *Port) Send(f *Frame) {
	if p.down {
		p.gone.Drop(f, DropLinkDown)
		return
	}
	p.send(f)
}

// Bind sets who receives what the medium delivers. It replaces an earlier one;
// nil drops every frame.
func (p *Port) Bind(recv func(*Frame)) { p.recv = recv }

// Deliver hands f to whoever is bound, in the order of the calls, after the
// event that is running now.
func (p *Port) Deliver(f *Frame) { p.drv.soon.push(soonItem{to: p, frame: f}) }

// deliver hands f to whoever is bound, now.
func (p *Port) deliver(f *Frame) {
	switch {
	case p.recv == nil:
		p.gone.Drop(f, DropNoPeer)
	case p.down:
		p.gone.Drop(f, DropLinkDown)
	default:
		p.recv(f)
	}
}

// SetUp sets the administrative state of the port, as `ip link set up|down`.
// A port that is down neither sends nor receives.
func (p *Port) SetUp(up bool) { p.down = !up }

// Cabled reports whether the port is the end of a cable.
func (p *Port) Cabled() bool { return p.cabled }

// Up reports the administrative state.
func (p *Port) Up() bool { return !p.down }

// Lost returns the point that counts frames which nobody took.
func (p *Port) Lost() *Point { return p.gone }

// NewVeth returns the two ends of a virtual Ethernet pair: no loss, no limit,
// no delay but the one that the driver's configuration says, and the flow hash
// of a frame survives, as on Linux.
func (d *Driver) NewVeth(a, b string) (*Port, *Port) {
	pa, pb := d.NewPort(a, nil), d.NewPort(b, nil)
	pa.send, pb.send = d.vethTo(pb), d.vethTo(pa)
	return pa, pb
}

// vethTo returns how frames reach one end of a pair.
func (d *Driver) vethTo(end *Port) func(*Frame) {
	if d.veth == 0 {
		return end.Deliver
	}
	source := d.NewSource()
	return func(f *Frame) {
		d.heap.push(event{at: d.now + d.veth, source: source, to: end, frame: f})
	}
}

// arrive is the event at the end of a frame's way through a veth pair.
func (p *Port) arrive(f *Frame) { p.deliver(f) }
