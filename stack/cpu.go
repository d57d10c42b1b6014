package stack

import (
	"fmt"

	"github.com/podwire/podwire/link"
)

// Work is a stage of a packet's way that takes CPU time.
type Work uint8

// Stages. A packet is charged for one each time it passes it.
const (
	WorkReceive   Work = iota // a NIC's driver hands a frame to the network stack
	WorkTransmit              // and takes one
	WorkVeth                  // from one end of a veth pair to the other, in either direction
	WorkBridge                // a bridge decides
	WorkRoute                 // ip_rcv or ip_local_out: a route and a neighbour
	WorkNetfilter             // one hook with its tables, connection tracking included
	WorkSocket                // TCP or UDP with the system call, in either direction
	WorkVXLAN                 // encapsulation or decapsulation
	WorkIPIP
	WorkUserTunnel // flannel's udp: through a TUN device to a process and back, with copies
	WorkWireGuard  // encryption or decryption
	numWorks
)

var workNames = [numWorks]string{"receive", "transmit", "veth", "bridge", "route", "netfilter", "socket", "vxlan", "ipip", "userTunnel", "wireguard"}

// Works lists all stages in the order in which they are declared.
func Works() []Work {
	list := make([]Work, numWorks)
	for i := range list {
		list[i] = Work(i)
	}
	return list
}

// String returns the name of the stage as calibration files have it.
func (w Work) String() string {
	if w < numWorks {
		return workNames[w]
	}
	return fmt.Sprintf("Work(%d)", uint8(w))
}

// Cost is what a stage takes, in picoseconds.
type Cost struct {
	Packet int64 // for a packet of any length
	Byte   int64 // for each byte of it, in addition
}

// Costs is the cost of every stage. The zero value is a CPU for which everything
// is free.
type Costs [numWorks]Cost

// A CPU is what the packets of a node and of its pods wait for. Hosts that share
// the CPU share their time. Packets leave by a cable, and reach sockets, when all
// that was to be done is done; on the way no time passes, and a capture at an
// inner device shows when the node took the packet in. ARP takes no time, and
// neither do applications.
type CPU struct {
	*link.CPU
	Costs Costs
}

// Work spends the time of one stage on the packet or frame in f. Without a CPU
// model it does nothing.
func (h *Host) Work(f *link.Frame, w Work) {
	if h.cfg.CPU == nil {
		return
	}
	c := h.cfg.CPU.Costs[w]
	h.cfg.CPU.Spend(f, c.Packet+c.Byte*int64(f.Len()))
}

// assign gives the packet the core that its flow has, unless it has one.
func (h *Host) assign(f *link.Frame, ip []byte) {
	if f.Core == 0 && h.cfg.CPU.Cores() > 1 && len(ip) >= ipv4MinHeader && ip[0]>>4 == 4 {
		h.cfg.CPU.Choose(f, dissect(h.hashKey, ip))
	}
}

// takesIn is the CPU's share of receiving a frame: false if the frame found the
// backlog full and is no more.
func (d *Device) takesIn(f *link.Frame) bool {
	h := d.host
	if h.cfg.CPU == nil || d.port == nil || !isIPv4(f) {
		return true
	}
	if d.port.Cabled() {
		h.assign(f, f.Bytes()[link.EthernetHeader:])
		if !h.cfg.CPU.Admit(f) {
			d.point.Drop(f, link.DropBacklog)
			return false
		}
		h.Work(f, WorkReceive)
	} else if h.cfg.Container {
		h.Work(f, WorkVeth)
	}
	return true
}

// leaves transmits a frame, by a cable when the CPU is done with it.
func (d *Device) leaves(f *link.Frame) {
	h := d.host
	switch {
	case h.cfg.CPU == nil || !isIPv4(f):
	case d.port != nil && d.port.Cabled():
		h.Work(f, WorkTransmit)
		h.cfg.CPU.After(f, d.putServed)
		return
	case d.port != nil && h.cfg.Container:
		if !h.cfg.CPU.Admit(f) { // veth_xmit: enqueue_to_backlog
			d.point.Drop(f, link.DropBacklog)
			return
		}
		h.Work(f, WorkVeth)
	case d.bridge != nil:
		h.Work(f, WorkBridge)
	}
	d.put(f)
}

// putServed is put for a frame that has waited. A device that went down
// meanwhile drops it.
func (d *Device) putServed(f *link.Frame) {
	if !d.up {
		d.point.Drop(f, DropDeviceDown)
		return
	}
	d.put(f)
}

// sends charges a packet that this host makes, or puts around another.
func (h *Host) sends(p *packet) {
	h.assign(p.frame, p.frame.Bytes())
	if p.socket {
		h.Work(p.frame, WorkSocket)
	}
	h.Work(p.frame, WorkRoute)
}

func isIPv4(f *link.Frame) bool {
	return f.Len() >= link.EthernetHeader && link.EtherType(f.Bytes()) == etherIPv4
}

// waits lets a packet for this host wait until the CPU is done with it, unless
// it has waited, and reports whether it does. What tunnels take is no end of a
// packet's way.
func (h *Host) waits(p *packet) bool {
	if p.served || h.tunnelled(p.ip()) || h.protocols[p.ip().proto()] != nil {
		return false
	}
	h.Work(p.frame, WorkSocket)
	q := *p
	q.served = true
	h.cfg.CPU.After(p.frame, func(*link.Frame) { h.handOver(&q) })
	return true
}
