package stack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

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

func (c *nic) MTU() uint32                             { return uint32(min(c.dev.MTU, maxPacket)) }
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

// Capabilities says that received checksums need not be verified: the host has
// done so, see sumOK.
func (c *nic) Capabilities() stack.LinkEndpointCapabilities {
	caps := stack.CapabilityRXChecksumOffload
	if c.dev.loopback {
		caps |= stack.CapabilityLoopback
	}
	return caps
}
