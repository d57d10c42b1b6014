package stack

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/header/parse"
	gvipv4 "gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/podwire/podwire/link"
)

// netstack is a host's gVisor stack: it ends TCP and UDP. It is made when the
// first socket is, so that an idle pod costs no goroutine.
//
// gVisor handles TCP segments in goroutines of its own. In virtual time they are
// kept paused; what they have to do is done in drain, with the driver waiting,
// so that to the rest of the host a socket is as synchronous as everything else.
// In real time there is no order to keep: gVisor runs beside the driver, on its
// own clock, and what it sends is posted to the driver.
type netstack struct {
	host   *Host
	s      *stack.Stack
	tcp    tcpQueue
	nics   []*nic // by device index
	flows  map[flowKey]*flow
	idle   func() // drain, as a function value made once
	queued bool   // idle is waiting to run
	closed atomic.Bool

	openMu sync.Mutex        // guards open
	open   map[socket]uint64 // with a number that grows
	count  uint64

	outMu sync.Mutex // guards out
	out   []outgoing // in real time: sent by gVisor, not yet by the host
	spare []outgoing // the slice that out was before
	send  func()     // flush, as a function value made once
}

// socket is what must be ended when its host goes.
type socket interface{ abort() }

// TCP settings. They are Linux' defaults where gVisor has the same knob.
const (
	tcpReceiveMin, tcpReceiveDefault, tcpReceiveMax = 4096, 131072, 6291456 // tcp_rmem
	tcpSendMin, tcpSendDefault, tcpSendMax          = 4096, 1 << 20, 4 << 20
	firstEphemeral, lastEphemeral                   = 32768, 60999 // ip_local_port_range
)

// start makes the stack if there is none.
func (n *netstack) start() error {
	switch {
	case n.closed.Load():
		return errHostClosed
	case n.s != nil:
		return nil
	}
	h := n.host
	var now tcpip.Clock = clock{h}
	if !h.drv.Virtual() {
		now = tcpip.NewStdClock()
	}
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{gvipv4.NewProtocolWithOptions(gvipv4.Options{AllowExternalLoopbackTraffic: true})},
		TransportProtocols: []stack.TransportProtocolFactory{newTCP, udp.NewProtocol},
		Clock:              now,
		RandSource:         &lockedSource{src: rand.NewPCG(h.drv.Seed(), h.Rand("netstack").Uint64())},
		SecureRNG:          &seededReader{rng: h.Rand("secure")},
	})
	if h.drv.Virtual() {
		s.Pause()
	}
	if err := setTCPOptions(s); err != nil {
		return err
	}
	n.tcp = s.TransportProtocolInstance(tcp.ProtocolNumber).(tcpQueue)
	n.s, n.flows, n.idle, n.send = s, make(map[flowKey]*flow), n.drain, n.flush
	for _, d := range h.devices {
		n.attach(d)
		for _, p := range d.addrs {
			n.addAddress(d, p)
		}
	}
	return nil
}

var errHostClosed = errors.New("stack: host is closed")

func setTCPOptions(s *stack.Stack) error {
	if err := s.SetPortRange(firstEphemeral, lastEphemeral); err != nil {
		return fmt.Errorf("stack: port range: %v", err)
	}
	sack := tcpip.TCPSACKEnabled(true)
	// RACK breaks ties by arrival time; with exact time there are many ties, and
	// it then takes reordering for loss.
	rack := tcpip.TCPRecovery(0)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &rack,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpReceiveMin, Default: tcpReceiveDefault, Max: tcpReceiveMax},
		&tcpip.TCPSendBufferSizeRangeOption{Min: tcpSendMin, Default: tcpSendDefault, Max: tcpSendMax},
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("stack: TCP option %T: %v", o, err)
		}
	}
	return nil
}

// newTCP makes the TCP protocol with one processor goroutine instead of one
// per CPU. The driver runs one event at a time, so more would only be more to
// wait for; and with one, what a burst of segments does never depends on the
// number of CPUs. gVisor takes the number from GOMAXPROCS and from nowhere else.
func newTCP(s *stack.Stack) stack.TransportProtocol {
	oneProcessor.Lock()
	defer oneProcessor.Unlock()
	if old := runtime.GOMAXPROCS(0); old > 1 {
		runtime.GOMAXPROCS(1)
		defer runtime.GOMAXPROCS(old)
	}
	return tcp.NewProtocolCUBIC(s)
}

var oneProcessor sync.Mutex // held while GOMAXPROCS is changed for a moment

// attach gives the stack a NIC for d. NICs differ in MTU and addresses only:
// every packet leaves through the host.
func (n *netstack) attach(d *Device) {
	if n.s == nil {
		return
	}
	for len(n.nics) <= d.Index {
		n.nics = append(n.nics, nil)
	}
	c := &nic{n: n, dev: d}
	n.nics[d.Index] = c
	id := tcpip.NICID(d.Index)
	if err := n.s.CreateNICWithOptions(id, c, stack.NICOptions{Name: d.Name}); err != nil {
		panic(fmt.Sprintf("stack: %s/%s: %v", n.host.name, d.Name, err))
	}
	n.s.SetPromiscuousMode(id, true) // the host has decided what is local
	n.s.SetSpoofing(id, true)
	n.s.AddRoute(tcpip.Route{Destination: header.IPv4EmptySubnet, NIC: id})
}

// detach takes the NIC of d away.
func (n *netstack) detach(d *Device) {
	if n.s == nil || d.Index >= len(n.nics) || n.nics[d.Index] == nil {
		return
	}
	n.s.RemoveNIC(tcpip.NICID(d.Index))
	n.nics[d.Index] = nil
}

// addAddress tells the stack of an address, for it to choose as a source.
func (n *netstack) addAddress(d *Device, p netip.Prefix) {
	if n.s == nil {
		return
	}
	addr := tcpip.ProtocolAddress{
		Protocol:          header.IPv4ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(p.Addr().As4()), PrefixLen: p.Bits()},
	}
	if err := n.s.AddProtocolAddress(tcpip.NICID(d.Index), addr, stack.AddressProperties{}); err != nil {
		panic(fmt.Sprintf("stack: %s/%s: address %v: %v", n.host.name, d.Name, p, err))
	}
}

// touched says that gVisor may have work: it is done at the end of this
// instant's zero-delay work, for all segments that came in a burst together.
func (n *netstack) touched() {
	if n.host.drv.Virtual() && !n.queued && n.s != nil {
		n.queued = true
		n.host.drv.WhenIdle(n.idle)
	}
}

// drain lets the processors work until they have nothing left. Pause returns
// no earlier.
func (n *netstack) drain() {
	n.queued = false
	if n.s == nil {
		return
	}
	n.s.Resume()
	n.s.Pause()
}

// inject hands a packet to a socket and reports whether there is one. If so it
// owns p.
func (n *netstack) inject(p *packet, src, dst uint16) bool {
	if n.s == nil {
		return false
	}
	return n.injectAt(p, n.nics[n.nicFor(p)], src, dst)
}

// nicFor returns the device whose NIC should see p: the one that an answer
// leaves by, because gVisor routes what it sends on a new connection out of the
// NIC that the first packet came in by. Later segments belong to a connection
// that has its route.
func (n *netstack) nicFor(p *packet) int {
	ip := p.ip()
	if ip.proto() == protoTCP && ip.payload()[13]&(tcpSYN|tcpACK) == tcpACK {
		return p.in.Index
	}
	if _, dev, ok := n.host.Source(ip.src()); ok {
		return dev.Index
	}
	return n.host.lo.Index
}

func (n *netstack) injectAt(p *packet, c *nic, src, dst uint16) bool {
	ip := p.ip()
	id := stack.TransportEndpointID{
		LocalPort: dst, LocalAddress: tcpip.AddrFrom4([4]byte(ip[16:20])),
		RemotePort: src, RemoteAddress: tcpip.AddrFrom4([4]byte(ip[12:16])),
	}
	proto := tcpip.TransportProtocolNumber(ip.proto())
	ep := n.s.FindTransportEndpoint(header.IPv4ProtocolNumber, proto, id, tcpip.NICID(c.dev.Index))
	if ep == nil {
		return false
	}
	if proto == tcp.ProtocolNumber {
		n.queueTCP(c, ep, id, ip)
	} else {
		c.deliver(ip)
	}
	p.frame.Release()
	n.touched()
	return true
}

// queueTCP hands a segment to gVisor's TCP without going through its IP layer:
// everything that the IP layer would do, the host has done.
func (n *netstack) queueTCP(c *nic, ep stack.TransportEndpoint, id stack.TransportEndpointID, ip ipv4) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(ip)})
	defer pkt.DecRef()
	pkt.NetworkProtocolNumber, pkt.TransportProtocolNumber = header.IPv4ProtocolNumber, tcp.ProtocolNumber
	pkt.NICID, pkt.RXChecksumValidated = tcpip.NICID(c.dev.Index), true
	if _, ok := pkt.NetworkHeader().Consume(ip.headerLen()); !ok || !parse.TCP(pkt) {
		return // receiveTCP has checked the lengths
	}
	n.tcp.QueuePacket(ep, id, pkt)
}

// tcpQueue is what gVisor's TCP offers to the layer below it.
type tcpQueue interface {
	QueuePacket(stack.TransportEndpoint, stack.TransportEndpointID, *stack.PacketBuffer)
}

// injectError hands an ICMP error to the socket that it is about. It owns p.
func (n *netstack) injectError(p *packet) {
	quoted := ipv4Quoted(p.ip())
	d := n.host.local.get(quoted.src())
	if d == nil && quoted.src().IsLoopback() {
		d = n.host.lo
	}
	if n.s == nil || d == nil {
		n.host.drop(p, DropNoSocket)
		return
	}
	n.nics[d.Index].deliver(p.ip())
	p.frame.Release()
	n.touched()
}

// ipv4Quoted returns the packet that an ICMP error is about.
func ipv4Quoted(ip ipv4) ipv4 { return ipv4(ip.payload()[icmpHeader:]) }

// close ends all sockets and the stack with its goroutines.
func (n *netstack) close() {
	if n.closed.Swap(true) || n.s == nil {
		return
	}
	for _, s := range n.list() {
		s.abort()
	}
	n.s.Resume()
	n.s.Close()
	for _, c := range n.nics {
		if c != nil {
			n.s.RemoveNIC(tcpip.NICID(c.dev.Index))
		}
	}
	n.s.Wait()
	n.s = nil
}

// opened and ended keep the list of sockets.
func (n *netstack) opened(s socket) {
	n.openMu.Lock()
	defer n.openMu.Unlock()
	if n.open == nil {
		n.open = make(map[socket]uint64)
	}
	n.count++
	n.open[s] = n.count
}

func (n *netstack) ended(s socket) {
	n.openMu.Lock()
	defer n.openMu.Unlock()
	delete(n.open, s)
}

// list returns the sockets that are open, oldest first.
func (n *netstack) list() []socket {
	n.openMu.Lock()
	defer n.openMu.Unlock()
	return slices.SortedFunc(maps.Keys(n.open), func(a, b socket) int { return cmp.Compare(n.open[a], n.open[b]) })
}

// outgoing is a packet on its way from gVisor to the driver.
type outgoing struct {
	pkt      *stack.PacketBuffer
	unsummed bool
}

// post hands packets to the driver, from any goroutine.
func (n *netstack) post(list stack.PacketBufferList, unsummed bool) {
	n.outMu.Lock()
	first := len(n.out) == 0
	for _, pkt := range list.AsSlice() {
		n.out = append(n.out, outgoing{pkt.IncRef(), unsummed})
	}
	n.outMu.Unlock()
	if first {
		n.host.drv.Post(n.send)
	}
}

// flush sends what was posted.
func (n *netstack) flush() {
	n.outMu.Lock()
	out := n.out
	n.out, n.spare = n.spare[:0], nil
	n.outMu.Unlock()
	for i, o := range out {
		if n.s != nil {
			n.output(o.pkt, o.unsummed)
		}
		o.pkt.DecRef()
		out[i] = outgoing{}
	}
	n.spare = out
}

// nic is gVisor's view of a device: a link without a header.
type nic struct {
	n          *netstack
	dev        *Device
	dispatcher stack.NetworkDispatcher
}

func (c *nic) deliver(ip []byte) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(ip)})
	c.dispatcher.DeliverNetworkPacket(header.IPv4ProtocolNumber, pkt)
	pkt.DecRef()
}

// WritePackets implements stack.LinkEndpoint: packets of sockets enter the
// host's OUTPUT path.
func (c *nic) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	if !c.n.host.drv.Virtual() {
		c.n.post(list, c.dev.loopback)
		return list.Len(), nil
	}
	for _, pkt := range list.AsSlice() {
		c.n.output(pkt, c.dev.loopback)
	}
	return list.Len(), nil
}

func (c *nic) MTU() uint32                             { return uint32(c.dev.MTU) }
func (c *nic) SetMTU(uint32)                           {}
func (c *nic) MaxHeaderLength() uint16                 { return 0 }
func (c *nic) LinkAddress() tcpip.LinkAddress          { return "" }
func (c *nic) SetLinkAddress(tcpip.LinkAddress)        {}
func (c *nic) Attach(d stack.NetworkDispatcher)        { c.dispatcher = d }
func (c *nic) IsAttached() bool                        { return c.dispatcher != nil }
func (c *nic) Wait()                                   {}
func (c *nic) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (c *nic) AddHeader(*stack.PacketBuffer)           {}
func (c *nic) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (c *nic) Close()                                  {}
func (c *nic) SetOnCloseAction(func())                 {}

// Capabilities says that received checksums need not be verified: packets that
// never left the process are right, and what came from outside was checked
// where it came in.
func (c *nic) Capabilities() stack.LinkEndpointCapabilities {
	caps := stack.CapabilityRXChecksumOffload
	if c.dev.loopback {
		caps |= stack.CapabilityLoopback
	}
	return caps
}

// clock is the driver's time as gVisor wants it.
type clock struct{ h *Host }

func (c clock) Now() time.Time { return c.h.drv.Epoch().Add(c.h.drv.Now()) }

func (c clock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(c.h.drv.Now())
}

func (c clock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	h := c.h
	return h.drv.AfterFunc(h.source, d, func() {
		f()
		h.sockets.touched()
	})
}

// lockedSource is a seeded source that may be used from several goroutines, as
// gVisor demands.
type lockedSource struct {
	mu  sync.Mutex
	src rand.Source
}

func (l *lockedSource) Int63() int64 { return int64(l.Uint64() >> 1) }

func (l *lockedSource) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.src.Uint64()
}

func (l *lockedSource) Seed(int64) {}

var _ mathrand.Source64 = (*lockedSource)(nil)

// seededReader stands in for the system's secure random numbers: a lab is
// repeatable, not secret.
type seededReader struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (r *seededReader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b {
		b[i] = byte(r.rng.Uint32())
	}
	return len(b), nil
}

// flowKey names one direction of what a socket sends.
type flowKey struct {
	src, dst     [4]byte
	sport, dport uint16
	proto        byte
}

// flow is what Linux keeps in the socket and gVisor does not have: the
// identification counter and the flow hash.
type flow struct {
	id     uint16
	gvisor uint16 // identification that gVisor gave the datagram last seen
	hash   uint32
	used   time.Duration
}

const maxFlows = 4096

// flowOf returns the state of the flow that ip belongs to.
func (n *netstack) flowOf(p ipv4) *flow {
	k := flowKey{src: [4]byte(p[12:16]), dst: [4]byte(p[16:20]), proto: p.proto()}
	if !p.later() {
		k.sport, k.dport, _ = p.ports()
	}
	f := n.flows[k]
	if f == nil {
		if len(n.flows) >= maxFlows {
			n.forgetFlows()
		}
		x := mix(n.host.hashKey ^ uint64(binary.BigEndian.Uint32(k.src[:]))<<32 ^ uint64(binary.BigEndian.Uint32(k.dst[:])))
		x = mix(x ^ uint64(k.sport)<<24 ^ uint64(k.dport)<<8 ^ uint64(k.proto) ^ uint64(n.host.now()))
		f = &flow{id: uint16(x), hash: uint32(x>>32) | 1}
		n.flows[k] = f
	}
	f.used = n.host.now()
	return f
}

// forgetFlows drops what has not been used for a minute, or else everything.
func (n *netstack) forgetFlows() {
	for k, f := range n.flows {
		if n.host.now()-f.used > time.Minute {
			delete(n.flows, k)
		}
	}
	if len(n.flows) >= maxFlows {
		clear(n.flows)
	}
}

// output takes a packet from a socket, gives it the marks of a Linux socket
// and sends it on its way. A packet that is unsummed has no TCP or UDP checksum
// yet: gVisor leaves it away on a loopback NIC, but netfilter may still send the
// packet out of another one.
func (n *netstack) output(pkt *stack.PacketBuffer, unsummed bool) {
	h := n.host
	f := h.newFrame(pkt.Size())
	at := f.Bytes()
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		s := v.AsSlice()
		n := min(skip, len(s))
		skip -= n
		at = at[copy(at, s[n:]):]
	}
	p := packet{frame: f, cut: true}
	if unsummed {
		sumTransport(p.ip())
	}
	n.dress(p.ip(), f)
	h.sendLocal(&p)
}

// dress sets identification and DF as Linux' sockets do: numbers that count up
// per socket with DF set, 0 for SYN-ACK and RST; fragments share a number and
// have DF clear.
func (n *netstack) dress(ip ipv4, f *link.Frame) {
	if ip.fragment() {
		n.dressFragment(ip)
		return
	}
	fl := n.flowOf(ip)
	f.Hash = fl.hash
	if ip.proto() != protoTCP || len(ip) < ip.headerLen()+20 {
		ip.setIDAndFlags(fl.next(), flagDF)
		return
	}
	var id uint16
	seg := ip.payload()
	flags := seg[13]
	if flags&tcpRST == 0 && flags&(tcpSYN|tcpACK) != tcpSYN|tcpACK {
		id = fl.next()
	}
	if flags&tcpSYN != 0 {
		n.dressSYN(ip, seg)
	}
	ip.setIDAndFlags(id, flagDF)
}

// next returns the identification of the next datagram, which is never 0.
func (f *flow) next() uint16 {
	if f.id++; f.id == 0 {
		f.id++
	}
	return f.id
}

// dressFragment renumbers the pieces of one datagram alike.
func (n *netstack) dressFragment(ip ipv4) {
	fl := n.flowOf(ipv4(append([]byte(nil), ip[:ip.headerLen()]...)))
	if fl.gvisor != ip.id() || ip.flags()&fragOffset == 0 {
		fl.gvisor = ip.id()
		fl.next()
	}
	ip.setIDAndFlags(fl.id, ip.flags()&^flagDF)
}

// dressSYN sets the window of a SYN or SYN-ACK to the whole multiple of the
// MSS that Linux offers: of 65535 bytes, without room for the timestamp option
// in a SYN, with it in a SYN-ACK.
func (n *netstack) dressSYN(ip ipv4, seg []byte) {
	mss := mssOption(seg)
	if mss <= 12 {
		return
	}
	window := 65535 / mss * mss
	if seg[13]&tcpACK != 0 {
		window = 65535 / (mss - 12) * (mss - 12)
	}
	old := binary.BigEndian.Uint16(seg[14:])
	binary.BigEndian.PutUint16(seg[14:], uint16(window))
	mend(seg[16:18], old, uint16(window))
}

// mssOption returns the MSS that a segment announces, 0 if none (RFC 9293 §3.2).
func mssOption(seg []byte) int {
	end := int(seg[12]>>4) * 4
	if end > len(seg) {
		return 0
	}
	for at := 20; at < end; {
		switch kind := seg[at]; {
		case kind == 0:
			return 0
		case kind == 1:
			at++
		case at+1 >= end || seg[at+1] < 2 || at+int(seg[at+1]) > end:
			return 0
		case kind == 2 && seg[at+1] == 4:
			return int(binary.BigEndian.Uint16(seg[at+2:]))
		default:
			at += int(seg[at+1])
		}
	}
	return 0
}

// GVisorVersion is the date of the gVisor release that ends TCP and UDP. A test
// compares it with go.mod.
const GVisorVersion = "20260905"
