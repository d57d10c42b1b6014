package stack

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	gvipv4 "gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
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
	host    *Host
	s       *stack.Stack
	tcp     tcpQueue
	nics    []*nic // by device index
	flows   map[flowKey]*flow
	options inherited           // of listening ports
	held    atomic.Int32        // acknowledgements that wait, see acks
	pieces  map[pieceKey][]byte // of datagrams that gVisor has cut, see whole
	idle    func()              // drain, as a function value made once
	queued  bool                // idle is waiting to run
	waiting unsafe.Pointer      // the endpoints that the processor has work for; nil if it does it itself
	back    []*tcp.Endpoint     // scratch of process
	closed  atomic.Bool

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
	tcpSendMin, tcpSendDefault, tcpSendMax = 4096, 1 << 20, 4 << 20
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
		TransportProtocols: []stack.TransportProtocolFactory{h.newTCP, udp.NewProtocol},
		Clock:              now,
		RandSource:         &lockedSource{src: rand.NewPCG(h.drv.Seed(), h.Rand("netstack").Uint64())},
		SecureRNG:          &seededReader{rng: h.Rand("secure")},
	})
	if h.drv.Virtual() {
		s.Pause()
		n.waiting = processorQueue(s.TransportProtocolInstance(tcp.ProtocolNumber))
	}
	if err := setTCPOptions(s, &h.cfg); err != nil {
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

func setTCPOptions(s *stack.Stack, cfg *Config) error {
	receive := cfg.TCPReceive.withDefaults()
	if err := s.SetPortRange(uint16(cfg.param(ipFirstPort)), uint16(cfg.param(ipLastPort))); err != nil {
		return fmt.Errorf("stack: port range: %v", err)
	}
	ttl := tcpip.DefaultTTLOption(cfg.param(ipDefaultTTL))
	if err := s.SetNetworkProtocolOption(header.IPv4ProtocolNumber, &ttl); err != nil {
		return fmt.Errorf("stack: TTL: %v", err)
	}
	sack := tcpip.TCPSACKEnabled(true)
	// RACK breaks ties by arrival time; with exact time there are many ties, and
	// it then takes reordering for loss.
	rack := tcpip.TCPRecovery(0)
	size := receive.Default + windowSlack(receive)
	congestion := tcpip.CongestionControlOption(getCongestion(cfg))
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &rack, &congestion,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: receive.Min, Default: size, Max: max(receive.Max, size)},
		&tcpip.TCPSendBufferSizeRangeOption{Min: tcpSendMin, Default: tcpSendDefault, Max: tcpSendMax},
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("stack: TCP option %T: %v", o, err)
		}
	}
	return nil
}

// newTCP makes the TCP protocol, in virtual time with one processor goroutine
// instead of one per CPU. The driver runs one event at a time, so more would
// only be more to wait for; and with one, what a burst of segments does never
// depends on the number of CPUs. gVisor takes the number from GOMAXPROCS and from
// nowhere else.
func (h *Host) newTCP(s *stack.Stack) stack.TransportProtocol {
	if !h.drv.Virtual() {
		return tcp.NewProtocolCUBIC(s)
	}
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

// removeAddress takes an address back.
func (n *netstack) removeAddress(d *Device, p netip.Prefix) {
	if n.s != nil {
		n.s.RemoveAddress(tcpip.NICID(d.Index), tcpip.AddrFrom4(p.Addr().As4()))
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

// drain does what gVisor has to do until nothing is left. Where that takes the
// processor, Pause returns no earlier.
func (n *netstack) drain() {
	n.queued = false
	if n.s == nil || n.process() {
		return
	}
	n.tcp.Resume()
	n.tcp.Pause()
}

// close ends all sockets and the stack with its goroutines.
func (n *netstack) close() {
	if n.closed.Swap(true) || n.s == nil {
		return
	}
	for _, s := range n.list() {
		s.abort()
	}
	n.dropFlows()
	n.s.Resume()
	for _, ep := range n.lingering() {
		ep.Abort()
	}
	n.s.Close()
	for _, c := range n.nics {
		if c != nil {
			n.s.RemoveNIC(tcpip.NICID(c.dev.Index))
		}
	}
	n.s.Wait()
	n.s = nil
}

// lingering lists the endpoints that only the protocol still holds, such as those
// in FIN-WAIT, by their addresses. Stack.Close would reset them in the order of a
// map, which is another one in every run.
func (n *netstack) lingering() []stack.TransportEndpoint {
	list := n.s.RegisteredEndpoints()
	names := make(map[stack.TransportEndpoint]Socket)
	for _, t := range list {
		if ep, ok := t.(tcpip.Endpoint); ok {
			names[t], _ = readSocket(ep)
		}
	}
	list = slices.Collect(maps.Keys(names)) // each once: one may be registered for several devices
	slices.SortFunc(list, func(a, b stack.TransportEndpoint) int { return compareSockets(names[a], names[b]) })
	return list
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
