package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/podwire/podwire/link"
)

// Reasons for which a host drops frames and packets.
const (
	DropOtherHost    link.Reason = "frame for another host"
	DropDeviceDown   link.Reason = "device is down"
	DropNoCarrier    link.Reason = "device has no carrier"
	DropEtherType    link.Reason = "protocol is not handled"
	DropBadHeader    link.Reason = "bad IP header"
	DropChecksum     link.Reason = "bad checksum"
	DropBadARP       link.Reason = "bad ARP packet"
	DropMartianSrc   link.Reason = "martian source"
	DropMartianDst   link.Reason = "martian destination"
	DropReversePath  link.Reason = "source is not routed back (rp_filter)"
	DropNotForwarder link.Reason = "forwarding is off"
	DropTTL          link.Reason = "TTL expired"
	DropNoRoute      link.Reason = "no route"
	DropBlackhole    link.Reason = "blackhole route"
	DropTooBig       link.Reason = "larger than the path MTU, DF set"
	DropNeighQueue   link.Reason = "neighbour queue is full"
	DropNeighTable   link.Reason = "neighbour table overflow"
	DropNeighFailed  link.Reason = "neighbour does not answer"
	DropNoGroup      link.Reason = "multicast group was not joined"
	DropBroadcast    link.Reason = "broadcast is not forwarded"
	DropNoSocket     link.Reason = "no socket"
	DropNetfilter    link.Reason = "netfilter DROP"
	DropReject       link.Reason = "netfilter REJECT"
	DropConntrack    link.Reason = "connection tracking"
	DropFragment     link.Reason = "fragment"
)

// A Device is a network device of a host. Its exported fields are set when it
// is made and only read afterwards; SetMTU changes the MTU.
type Device struct {
	Name  string
	Index int // as `ip link` numbers it, from 1 for lo
	MAC   link.MAC
	MTU   int // largest IP packet in bytes

	own  confValues // net.ipv4.conf.NAME.* and net.ipv4.neigh.NAME.*
	conf confValues // what counts, after merging with those of all devices

	host     *Host
	point    *link.Point
	addrs    []netip.Prefix
	up       bool
	noARP    bool
	loopback bool
	transmit func(*link.Frame)
	raw      func(*link.Frame, netip.Addr) // set on a device without link layer
	fdb      func() []FDBEntry
	kind     string
	local    netip.Addr
	port     *link.Port
	bridge   *link.Bridge     // set on a bridge device
	member   *link.BridgePort // set on a device that is a port of a bridge
	recent   *neighbour       // the one used last, most often the one used next
	unsure   int              // neighbours that wait for a confirmation
	proxied  int              // requests that wait for proxy_delay
	claimed  []netip.Addr     // answered for by a program, see ClaimARP

	reach, reachAt, reachBase time.Duration // reachable time of its neighbours, since when, and of what
}

// DeviceConfig describes a device that is not made from a port: a tunnel.
type DeviceConfig struct {
	Name string
	MAC  link.MAC
	MTU  int
	Type link.LinkType // zero means Ethernet, or raw with TransmitIP

	// NoARP is for devices whose neighbours are all set by hand.
	NoARP bool

	// Transmit is given every frame that leaves by the device, from its
	// Ethernet header on, and owns it.
	Transmit func(*link.Frame)

	// TransmitIP, in place of Transmit, makes a device without link layer, such
	// as a TUN or an IPIP tunnel: it is given IP packets and their next hop, which
	// is the destination for a route without one, and owns the frame.
	TransmitIP func(f *link.Frame, next netip.Addr)

	// FDB, if set, lists the device's own forwarding table.
	FDB func() []FDBEntry

	// Kind is what `ip -d link` calls a virtual device: "vxlan", "ipip", "tun",
	// "wireguard". Local is the address of a tunnel's own end, the zero value for
	// any. Both are for listings only.
	Kind  string
	Local netip.Addr
}

// An FDBEntry is an entry of a tunnel device's own forwarding table, a line of
// `bridge fdb show dev NAME` with dst and self.
type FDBEntry struct {
	MAC link.MAC
	Dst netip.Addr // the other end of the tunnel
}

// maxDeviceName is what fits IFNAMSIZ with its terminating zero.
const maxDeviceName = 15

// AddDevice adds a device, up. Names are unique in a host, and at most 15
// bytes long as on Linux (IFNAMSIZ).
func (h *Host) AddDevice(cfg DeviceConfig) (*Device, error) {
	switch {
	case cfg.Name == "" || len(cfg.Name) > maxDeviceName:
		return nil, fmt.Errorf("stack: %s: device name %q has %d bytes, want 1 to 15", h.name, cfg.Name, len(cfg.Name))
	case h.Device(cfg.Name) != nil:
		return nil, fmt.Errorf("stack: %s: there is already a device %q", h.name, cfg.Name)
	case !validMTU(cfg.MTU):
		return nil, errMTU(h.name, cfg.Name, cfg.MTU)
	}
	switch {
	case cfg.TransmitIP != nil:
		cfg.Type, cfg.NoARP = link.LinkRaw, true
	case cfg.Type == 0:
		cfg.Type = link.LinkEthernet
	}
	d := &Device{
		Name: cfg.Name, Index: h.nextIndex(), MAC: cfg.MAC, MTU: cfg.MTU,
		host: h, up: true, noARP: cfg.NoARP, transmit: cfg.Transmit, raw: cfg.TransmitIP, fdb: cfg.FDB,
		kind: cfg.Kind, local: cfg.Local,
		point: h.drv.NewPoint(h.name+"/"+cfg.Name, cfg.Type),
	}
	d.initConf()
	h.devices = append(h.devices, d)
	h.sockets.attach(d)
	if h.cfg.OnDevice != nil {
		h.cfg.OnDevice(d)
	}
	return d, nil
}

// nextIndex numbers devices; a number is not used again.
func (h *Host) nextIndex() int {
	h.indexes++
	return h.indexes
}

// AddEthernet adds a device that is plugged into port: a NIC, or an end of a
// veth pair.
func (h *Host) AddEthernet(name string, mac link.MAC, mtu int, port *link.Port) (*Device, error) {
	d, err := h.AddDevice(DeviceConfig{Name: name, MAC: mac, MTU: mtu, Transmit: port.Send})
	if err != nil {
		return nil, err
	}
	d.port = port
	port.Bind(d.Receive)
	return d, nil
}

// AddBridge adds a bridge device. If the host's configuration says so, IP
// packets that it bridges pass netfilter (br_netfilter).
func (h *Host) AddBridge(name string, mac link.MAC, mtu int) (*Device, error) {
	b := h.drv.NewBridge(h.name + "/" + name)
	d, err := h.AddDevice(DeviceConfig{Name: name, MAC: mac, MTU: mtu, Transmit: b.Transmit})
	if err != nil {
		return nil, err
	}
	d.bridge = b
	b.LocalMAC = mac
	b.Local = d.fromBridge
	d.filterBridge()
	return d, nil
}

// filterBridge shows a bridge's frames to netfilter, or no longer.
func (d *Device) filterBridge() {
	if d.bridge == nil {
		return
	}
	d.bridge.Filter = nil
	if d.host.cfg.BridgeNetfilter {
		d.bridge.Filter = bridgeFilter{d}
	}
}

// AddBridgePort adds a device that is a port of the bridge device br.
func (h *Host) AddBridgePort(br *Device, name string, mac link.MAC, mtu int, port *link.Port) (*Device, *link.BridgePort, error) {
	if br.bridge == nil {
		return nil, nil, fmt.Errorf("stack: %s: %s is not a bridge", h.name, br.Name)
	}
	d, err := h.AddDevice(DeviceConfig{Name: name, MAC: mac, MTU: mtu, Transmit: port.Send})
	if err != nil {
		return nil, nil, err
	}
	d.port = port
	p := br.bridge.AddPort(name, port)
	p.MTU, p.Point = mtu, d.point
	d.member = p
	return d, p, nil
}

// Device returns the device of that name, or nil.
func (h *Host) Device(name string) *Device {
	for _, d := range h.devices {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Devices returns all devices, lo first.
func (h *Host) Devices() []*Device { return slices.Clone(h.devices) }

// Point returns where the device's frames can be watched.
func (d *Device) Point() *link.Point { return d.point }

// Points returns every place where frames of the device can be seen or can end:
// its own point first, then those of its bridge and of the port behind it.
func (d *Device) Points() []*link.Point {
	points := []*link.Point{d.point}
	if d.bridge != nil {
		points = append(points, d.bridge.Point())
	}
	if d.port != nil {
		points = append(points, d.port.Lost())
	}
	return points
}

// Host returns the host that the device belongs to.
func (d *Device) Host() *Host { return d.host }

// Bridge returns the bridge of a bridge device, nil for others.
func (d *Device) Bridge() *link.Bridge { return d.bridge }

// FDB returns the forwarding table of a tunnel device, nil for others. That of
// a bridge is the bridge's.
func (d *Device) FDB() []FDBEntry {
	if d.fdb == nil {
		return nil
	}
	return d.fdb()
}

// Addrs returns the addresses of the device, the primary one first.
func (d *Device) Addrs() []netip.Prefix { return slices.Clone(d.addrs) }

// SetUp is `ip link set up|down`. A device that is down sends and receives
// nothing, and routes through it are passed over.
func (d *Device) SetUp(up bool) {
	d.up = up
	if d.port != nil {
		d.port.SetUp(up)
	}
}

// Carrier reports whether the device can carry frames, as far as it knows. A
// bridge without a port that is up cannot: it is NO-CARRIER in `ip link`, and
// what is sent by it is dropped before a capture sees it. Its routes stay.
func (d *Device) Carrier() bool {
	return d.up && (d.bridge == nil || d.bridge.Carrier())
}

// validMTU reports whether a device can have the MTU: at least what every IPv4
// link carries (RFC 791 §3.2), at most what an IPv4 packet holds.
func validMTU(mtu int) bool { return mtu >= 68 && mtu <= 65535 }

func errMTU(host, device string, mtu int) error {
	return fmt.Errorf("stack: %s: device %s: MTU %d, want 68 to 65535", host, device, mtu)
}

// SetMTU is `ip link set dev NAME mtu N`. Of a veth pair it changes one end.
func (d *Device) SetMTU(mtu int) error {
	if !validMTU(mtu) && !(d.loopback && mtu == loopbackMTU) {
		return errMTU(d.host.name, d.Name, mtu)
	}
	d.MTU = mtu
	if d.member != nil {
		d.member.MTU = mtu
	}
	return nil
}

// Announce sends one gratuitous ARP request for each address of the device, as
// a device with arp_notify=1 does when it comes up (RFC 5944 §4.6).
func (d *Device) Announce() {
	if d.raw != nil {
		return
	}
	for _, p := range d.addrs {
		d.AnnounceAddr(p.Addr())
	}
}

// AnnounceAddr is Announce for one address.
func (d *Device) AnnounceAddr(a netip.Addr) {
	d.host.sendARP(d, arpRequest, link.Broadcast, d.MAC, a, link.MAC{}, a)
}

// primary returns the first address, or the zero value.
func (d *Device) primary() netip.Addr {
	if len(d.addrs) == 0 {
		return netip.Addr{}
	}
	return d.addrs[0].Addr()
}

// primaryFor returns the address a packet to next hop dst should have as its
// source: one whose subnet holds dst, else the first (inet_select_addr).
func (d *Device) primaryFor(dst netip.Addr) netip.Addr {
	for _, p := range d.addrs {
		if p.Contains(dst) {
			return p.Addr()
		}
	}
	return d.primary()
}

// sendIP gives the packet an Ethernet header and transmits it.
func (d *Device) sendIP(f *link.Frame, dst link.MAC) {
	d.sendFrame(f, dst, etherIPv4)
}

// sendFrame puts an Ethernet header in front of f and transmits it.
func (d *Device) sendFrame(f *link.Frame, dst link.MAC, etherType uint16) {
	link.PutEthernet(f.Push(link.EthernetHeader), dst, d.MAC, etherType)
	switch {
	case !d.up:
		d.point.Drop(f, DropDeviceDown)
		return
	case d.bridge != nil && !d.bridge.Carrier():
		d.point.Drop(f, DropNoCarrier)
		return
	}
	if h := d.host; h.cfg.CPU != nil {
		d.leaves(f)
		return
	}
	d.put(f)
}

// put is the last step of a frame on its way out.
func (d *Device) put(f *link.Frame) {
	if !d.loopback { // what is sent on lo is captured when it comes back, once
		d.point.Pass(f, link.Out)
	}
	d.transmit(f)
}

// Receive handles a frame that has come in by the device. One that is larger
// than the MTU of a NIC or veth end is dropped before it is captured.
func (d *Device) Receive(f *link.Frame) {
	if d.port != nil && f.Len()-link.EthernetHeader > d.MTU {
		d.point.Drop(f, link.DropMTU)
		return
	}
	if d.host.cfg.CPU != nil && !d.takesIn(f) {
		return
	}
	d.point.Pass(f, link.In)
	d.handle(f)
}

// fromBridge handles what a bridge hands to its host. Of a copy the host only
// takes a look.
func (d *Device) fromBridge(f *link.Frame, _ *link.BridgePort, copied bool) {
	if d.host.cfg.CPU != nil && isIPv4(f) {
		d.host.Work(f, WorkBridge)
	}
	d.point.Pass(f, link.In)
	if !copied {
		d.handle(f)
	}
}

func (d *Device) handle(f *link.Frame) {
	switch {
	case !d.up:
		d.point.Drop(f, DropDeviceDown)
		return
	case d.raw != nil:
		d.host.receiveIP(d, f, false)
		return
	case f.Len() < link.EthernetHeader:
		d.point.Drop(f, link.DropRunt)
		return
	}
	b := f.Bytes()
	dst := link.DstMAC(b)
	group := dst.IsMulticast()
	if !group && dst != d.MAC {
		d.point.Drop(f, DropOtherHost)
		return
	}
	switch link.EtherType(b) {
	case etherIPv4:
		f.Pull(link.EthernetHeader)
		d.host.receiveIP(d, f, group)
	case etherARP:
		d.host.receiveARP(d, f)
	default:
		d.point.Drop(f, DropEtherType)
	}
}

// RemoveDevice takes a device away, with its addresses, routes and neighbours,
// as `ip link del` does. What the device was plugged into is the caller's
// business. lo stays.
func (h *Host) RemoveDevice(d *Device) error {
	at := slices.Index(h.devices, d)
	if at < 0 || d.loopback {
		return fmt.Errorf("stack: %s: cannot remove device %s", h.name, d.Name)
	}
	d.SetUp(false)
	for _, r := range h.routes.all() {
		if r.Dev == d {
			h.routes.remove(r.Dst, func(o *Route) bool { return o.Dev == d })
		}
	}
	for _, p := range d.Addrs() {
		d.RemoveAddr(p)
	}
	for _, n := range h.neigh.of(d) {
		h.neigh.remove(n)
	}
	h.sockets.detach(d)
	h.devices = slices.Delete(h.devices, at, at+1)
	return nil
}
