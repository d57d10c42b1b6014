package overlay

import (
	"errors"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// IPIPOverhead is what IPIP takes from the underlay's MTU: an IPv4 header
// without options (RFC 2003 §3.1).
const IPIPOverhead = ipv4Header

const ipv4Header = 20

// Reasons for which an IPIP device drops.
const (
	DropBadInner link.Reason = "ipip: no IPv4 packet inside"
	DropIPIPECN  link.Reason = "ipip: congestion mark on a packet that is not ECN-capable"
	DropIPIPMTU  link.Reason = "ipip: larger than the path MTU, DF set"
	DropIPIPLoop link.Reason = "ipip: next hop is this host"
)

// IPIPConfig describes an IPIP device without a fixed remote end, as flannel
// makes it: `ip link add NAME type ipip local LOCAL ttl inherit nopmtudisc`, or
// without a local end either, as the kernel's own tunl0 is that Calico uses.
type IPIPConfig struct {
	Name  string
	MTU   int
	Local netip.Addr // outer source; datagrams to other addresses are not for this device; if zero, any
}

// An IPIP is an IPIP tunnel device of a host. The next hop of a packet's route
// is where the outer packet goes.
type IPIP struct {
	Device *stack.Device

	cfg  IPIPConfig
	host *stack.Host
}

// NewIPIP adds an IPIP device to a host, which can have one.
func NewIPIP(h *stack.Host, cfg IPIPConfig) (*IPIP, error) {
	t := &IPIP{cfg: cfg, host: h}
	dev, err := h.AddDevice(stack.DeviceConfig{Name: cfg.Name, Kind: "ipip", Local: cfg.Local, MTU: cfg.MTU, TransmitIP: t.transmit})
	if err != nil {
		return nil, err
	}
	t.Device = dev
	if err := h.BindProtocol(stack.ProtoIPIP, t.receive); err != nil {
		return nil, errors.Join(err, h.RemoveDevice(dev))
	}
	return t, nil
}

// transmit puts the outer header around a packet (the kernel's ip_tunnel_xmit):
// the inner TTL, which the node has decremented, the inner DF, DSCP 0 with the
// inner ECN bits. A packet with DF that does not fit the path, of which routers
// may have told, is answered with what would fit.
func (t *IPIP) transmit(f *link.Frame, next netip.Addr) {
	ip := f.Bytes()
	if src, dev, ok := t.host.Source(next); ok && (src == next || dev == t.Device) {
		t.Device.Point().Drop(f, DropIPIPLoop)
		return
	}
	o := stack.Outer{Src: t.cfg.Local, Dst: next, TOS: outerTOS(ip[1]), TTL: ip[8], DF: ip[6]&0x40 != 0}
	if room := t.host.PathMTU(next) - IPIPOverhead; o.DF && room > 0 && len(ip) > room {
		t.host.SendError(f, icmpUnreachable, icmpFragNeeded, uint32(room))
		t.Device.Point().Drop(f, DropIPIPMTU)
		return
	}
	t.host.Work(f, stack.WorkIPIP)
	t.host.SendProtocol(o, stack.ProtoIPIP, f)
}

// ICMP destination unreachable and its codes (RFC 792, RFC 1191 §4).
const (
	icmpUnreachable     = 3
	icmpHostUnreachable = 1
	icmpFragNeeded      = 4
)

// receive takes the inner packet out. A packet to another address of the host
// is not for this device.
func (t *IPIP) receive(o stack.Outer, f *link.Frame) bool {
	b := f.Bytes()
	switch {
	case t.cfg.Local.IsValid() && o.Dst != t.cfg.Local:
		return false
	case len(b) < ipv4Header || b[0]>>4 != 4:
		t.Device.Point().Drop(f, DropBadInner)
	case !decapsulateECN(b, o.TOS):
		t.Device.Point().Drop(f, DropIPIPECN)
	default:
		t.host.Work(f, stack.WorkIPIP)
		t.Device.Receive(f)
	}
	return true
}
