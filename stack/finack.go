package stack

import (
	"encoding/binary"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/podwire/podwire/link"
)

// finAck is the acknowledgement of the peer's FIN. gVisor sends it at once. Linux
// delays it where its own side is still open (tcp_fin enters ping-pong mode): an
// application that closes then sends its FIN with it.
type finAck struct {
	seq   uint32 // the acknowledgement number
	size  uint32 // bytes of the segment that had the FIN, which counts as one
	heard bool   // the FIN has come in
	sent  bool   // it was acknowledged, or we had sent our own FIN before

	closed bool // our application has closed the connection
	alone  bool // it had, and the peer had acknowledged that, when the FIN came in

	frame *link.Frame // waits
	timer *link.Timer
}

const (
	// delayedAck is TCP_DELACK_MIN.
	delayedAck = 40 * time.Millisecond

	// delayedBytes is how much may wait for a delayed acknowledgement: the kernel's
	// first estimate of the peer's segment size (TCP_MSS_DEFAULT).
	delayedBytes = 536
)

// heardFIN takes note of a FIN that has come in for an endpoint.
func (n *netstack) heardFIN(ep stack.TransportEndpoint, ip ipv4) {
	f := n.answered(ip)
	if f == nil || f.fin.heard {
		return
	}
	seg := ip.payload()
	if e, ok := ep.(*tcp.Endpoint); ok && f.fin.closed {
		f.fin.alone = e.EndpointState() == tcp.StateFinWait2
	}
	f.fin.heard, f.fin.size = true, uint32(len(seg)-int(seg[12]>>4)*4)+1
	f.fin.seq = binary.BigEndian.Uint32(seg[4:]) + f.fin.size
}

// leaves takes note of an application that closes a connection.
func (n *netstack) leaves(ep tcpip.Endpoint) {
	local, err := ep.GetLocalAddress()
	remote, err2 := ep.GetRemoteAddress()
	if err != nil || err2 != nil || local.Addr.Len() != 4 || remote.Addr.Len() != 4 {
		return
	}
	k := flowKey{src: local.Addr.As4(), dst: remote.Addr.As4(), sport: local.Port, dport: remote.Port, proto: protoTCP}
	if f := n.flows[k]; f != nil {
		f.fin.closed = true
	}
}

// holdsBack reports whether a packet of the flow is the acknowledgement of a FIN
// that is to wait; then it owns it. Any other packet takes the place of the one that
// waits.
func (f *flow) holdsBack(n *netstack, p *packet) bool {
	ip := p.ip()
	if ip.proto() != protoTCP || len(ip) < ip.headerLen()+20 {
		return false
	}
	seg := ip.payload()
	flags := seg[13]
	if flags&tcpSYN != 0 {
		return false
	}
	fin := &f.fin
	pure := flags == tcpACK && len(seg) == int(seg[12]>>4)*4
	ack := binary.BigEndian.Uint32(seg[8:])
	if pure && fin.heard && !fin.sent && ack == fin.seq && f.window.unacked(ack) <= fin.size && fin.size <= delayedBytes {
		f.hold(n, p.frame)
		return true
	}
	fin.drop()
	fin.sent = fin.sent || flags&tcpFIN != 0 || fin.heard && ack == fin.seq
	return false
}

// hold keeps the acknowledgement until the time is up.
func (f *flow) hold(n *netstack, ack *link.Frame) {
	a := &f.fin
	if a.frame != nil {
		a.frame.Release()
		a.frame = ack
		return
	}
	a.frame = ack
	a.timer = n.host.drv.AfterFunc(n.host.source, delayedAck, func() {
		p := packet{frame: a.frame, cut: true}
		a.frame, a.sent = nil, true
		f.dress(n, p.ip(), p.frame)
		n.host.sendLocal(&p)
	})
}

// drop takes back what waits.
func (a *finAck) drop() {
	if a.frame != nil {
		a.timer.Stop()
		a.frame.Release()
		a.frame = nil
	}
}
