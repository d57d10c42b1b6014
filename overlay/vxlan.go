package overlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// VXLAN header (RFC 7348 §5):
//
//	0               1               2               3
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|R|R|R|R|I|R|R|R|            Reserved                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                VXLAN Network Identifier (VNI) |   Reserved    |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	vxlanHeader = 8
	vxlanFlagI  = 0x08000000

	// VXLANOverhead is what VXLAN over IPv4 takes from the underlay's MTU:
	// IP 20, UDP 8, VXLAN 8, inner Ethernet 14.
	VXLANOverhead = 20 + 8 + vxlanHeader + link.EthernetHeader
)

// Reasons for which a VXLAN device drops.
const (
	DropNoFDB     link.Reason = "vxlan: no FDB entry"
	DropBadVXLAN  link.Reason = "vxlan: bad header"
	DropVNI       link.Reason = "vxlan: unknown VNI"
	DropOwnSource link.Reason = "vxlan: source is this device"
	DropECN       link.Reason = "vxlan: congestion mark on a packet that is not ECN-capable"
)

// putVXLAN writes a header for vni at the start of b.
func putVXLAN(b []byte, vni uint32) {
	binary.BigEndian.PutUint32(b, vxlanFlagI)
	binary.BigEndian.PutUint32(b[4:], vni<<8)
}

// parseVXLAN reads a header. As the kernel does, it wants the I flag and no
// other bit that it does not know.
func parseVXLAN(b []byte) (vni uint32, ok bool) {
	if len(b) < vxlanHeader {
		return 0, false
	}
	flags, word := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return word >> 8, flags == vxlanFlagI && word&0xff == 0
}

// VXLANConfig describes a VXLAN device without learning, as flannel, Calico
// and others make it: `ip link add NAME type vxlan id VNI local LOCAL dstport
// PORT nolearning udpcsum`.
type VXLANConfig struct {
	Name  string
	MAC   link.MAC
	MTU   int
	VNI   uint32
	Local netip.Addr // outer source
	Port  uint16     // outer destination port
}

// A VXLAN is a VXLAN tunnel device of a host.
type VXLAN struct {
	Device *stack.Device

	cfg  VXLANConfig
	host *stack.Host
	fdb  map[link.MAC]netip.Addr
}

// NewVXLAN adds a VXLAN device to a host.
func NewVXLAN(h *stack.Host, cfg VXLANConfig) (*VXLAN, error) {
	if cfg.VNI >= 1<<24 {
		return nil, fmt.Errorf("overlay: vxlan %s: VNI %d, want less than 2^24", cfg.Name, cfg.VNI)
	}
	v := &VXLAN{cfg: cfg, host: h, fdb: make(map[link.MAC]netip.Addr)}
	dev, err := h.AddDevice(stack.DeviceConfig{Name: cfg.Name, Kind: "vxlan", Local: cfg.Local, MAC: cfg.MAC, MTU: cfg.MTU, Transmit: v.transmit, FDB: v.list})
	if err != nil {
		return nil, err
	}
	v.Device = dev
	if err := h.BindTunnel(cfg.Port, v.receive); err != nil {
		return nil, errors.Join(err, h.RemoveDevice(dev))
	}
	return v, nil
}

// AddFDB is `bridge fdb append MAC dev NAME dst VTEP self permanent`.
func (v *VXLAN) AddFDB(mac link.MAC, vtep netip.Addr) { v.fdb[mac] = vtep }

// RemoveFDB is `bridge fdb del`.
func (v *VXLAN) RemoveFDB(mac link.MAC) { delete(v.fdb, mac) }

// FDB returns the VTEP behind a MAC.
func (v *VXLAN) FDB(mac link.MAC) (netip.Addr, bool) {
	a, ok := v.fdb[mac]
	return a, ok
}

// list returns the FDB by MAC.
func (v *VXLAN) list() []stack.FDBEntry {
	out := make([]stack.FDBEntry, 0, len(v.fdb))
	for mac, dst := range v.fdb {
		out = append(out, stack.FDBEntry{MAC: mac, Dst: dst})
	}
	slices.SortFunc(out, func(a, b stack.FDBEntry) int { return bytes.Compare(a.MAC[:], b.MAC[:]) })
	return out
}

// transmit encapsulates a frame for the VTEP of its destination.
func (v *VXLAN) transmit(f *link.Frame) {
	b := f.Bytes()
	vtep, ok := v.fdb[link.DstMAC(b)]
	if !ok {
		v.Device.Point().Drop(f, DropNoFDB)
		return
	}
	o := stack.Outer{Src: v.cfg.Local, Dst: vtep, SrcPort: v.sourcePort(f), DstPort: v.cfg.Port, TOS: outerTOS(innerTOS(b))}
	v.host.Work(f, stack.WorkVXLAN)
	putVXLAN(f.Push(vxlanHeader), v.cfg.VNI)
	v.host.SendTunnel(o, f)
}

// sourcePort spreads flows over source ports, so that routers with several
// equal paths can tell them apart (RFC 7348 §5): those of
// net.ipv4.ip_local_port_range, the last one excluded (udp_flow_src_port).
func (v *VXLAN) sourcePort(f *link.Frame) uint16 {
	hash := v.host.FlowHash(f)
	hash ^= hash << 16
	first, last := v.host.LocalPorts()
	return uint16(uint64(hash)*uint64(last-first)>>32) + first
}

// receive takes the inner frame out of a datagram. What is not for this device
// is dropped without an answer.
func (v *VXLAN) receive(o stack.Outer, f *link.Frame) {
	v.host.Work(f, stack.WorkVXLAN)
	vni, ok := parseVXLAN(f.Bytes())
	switch {
	case !ok:
		v.Device.Point().Drop(f, DropBadVXLAN)
		return
	case vni != v.cfg.VNI:
		v.Device.Point().Drop(f, DropVNI)
		return
	}
	b := f.Pull(vxlanHeader)
	switch {
	case len(b) < link.EthernetHeader:
		v.Device.Point().Drop(f, link.DropRunt)
	case link.SrcMAC(b) == v.cfg.MAC:
		v.Device.Point().Drop(f, DropOwnSource)
	case !decapsulateECN(innerIPv4(b), o.TOS):
		v.Device.Point().Drop(f, DropECN)
	default:
		v.Device.Receive(f)
	}
}
