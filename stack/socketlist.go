package stack

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// A Socket is one line of `ss -a`.
type Socket struct {
	Network string // tcp or udp
	State   string // in the words of ss: LISTEN, ESTAB, TIME-WAIT, UNCONN
	Local   netip.AddrPort
	Remote  netip.AddrPort // zero of a socket without a peer

	// RecvQ is bytes that the application has not read. SendQ is bytes that it has
	// written and the socket has had no room for; what the socket holds gVisor
	// does not tell. Of a listener SendQ is the backlog, as ss has it.
	RecvQ, SendQ int

	TCP *TCPInfo // nil for UDP
}

// TCPInfo is what gVisor tells about a connection, as `ss -i` does. It does not
// tell the MSS.
type TCPInfo struct {
	RTT, RTTVar, RTO   time.Duration
	Cwnd               int // segments
	Ssthresh           int // segments; 0 while there has been no loss
	SegsIn, SegsOut    uint64
	Retransmits        uint64
	CongestionRecovery bool // it repairs a loss right now
}

// Sockets lists the host's TCP and UDP sockets, those that only the protocol
// still holds (TIME-WAIT) included, ordered by network, local and remote
// address. The caller holds the driver's lock.
func (h *Host) Sockets() []Socket {
	if h.sockets.s == nil {
		return nil
	}
	var out []Socket
	seen := make(map[tcpip.Endpoint]bool)
	for _, t := range h.sockets.s.RegisteredEndpoints() {
		ep, ok := t.(tcpip.Endpoint)
		if !ok || seen[ep] {
			continue // one endpoint can be registered for several devices
		}
		seen[ep] = true
		if s, ok := readSocket(ep); ok {
			out = append(out, h.sockets.withPending(ep, s))
		}
	}
	h.sockets.touched()
	slices.SortFunc(out, compareSockets)
	return out
}

func compareSockets(a, b Socket) int {
	return cmp.Or(cmp.Compare(a.Network, b.Network), a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
}

// readSocket reads one endpoint of gVisor.
func readSocket(ep tcpip.Endpoint) (Socket, bool) {
	info, ok := ep.Info().(*stack.TransportEndpointInfo)
	if !ok {
		return Socket{}, false
	}
	s := Socket{
		Local:  addrPort(tcpip.FullAddress{Addr: info.ID.LocalAddress, Port: info.ID.LocalPort}),
		Remote: addrPort(tcpip.FullAddress{Addr: info.ID.RemoteAddress, Port: info.ID.RemotePort}),
	}
	if s.Remote.Port() == 0 {
		s.Remote = netip.AddrPort{}
	}
	s.RecvQ, _ = ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	switch info.TransProto {
	case udp.ProtocolNumber:
		s.Network, s.State = "udp", "UNCONN"
		if s.Remote.IsValid() {
			s.State = "ESTAB"
		}
		return s, true
	case tcp.ProtocolNumber:
		s.Network, s.State = "tcp", tcpState(tcp.EndpointState(ep.State()))
		if s.State == "LISTEN" {
			s.SendQ = listenBacklog
		}
		s.TCP = tcpInfo(ep)
		return s, true
	}
	return Socket{}, false
}

// tcpState names a state as ss does.
func tcpState(s tcp.EndpointState) string {
	switch s {
	case tcp.StateEstablished:
		return "ESTAB"
	case tcp.StateConnecting, tcp.StateSynSent:
		return "SYN-SENT"
	case tcp.StateSynRecv:
		return "SYN-RECV"
	case tcp.StateFinWait1:
		return "FIN-WAIT-1"
	case tcp.StateFinWait2:
		return "FIN-WAIT-2"
	case tcp.StateTimeWait:
		return "TIME-WAIT"
	case tcp.StateCloseWait:
		return "CLOSE-WAIT"
	case tcp.StateLastAck:
		return "LAST-ACK"
	case tcp.StateListen:
		return "LISTEN"
	case tcp.StateClosing:
		return "CLOSING"
	}
	return "UNCONN"
}

func tcpInfo(ep tcpip.Endpoint) *TCPInfo {
	var o tcpip.TCPInfoOption
	if err := ep.GetSockOpt(&o); err != nil {
		return nil
	}
	t := &TCPInfo{
		RTT: o.RTT, RTTVar: o.RTTVar, RTO: o.RTO, Cwnd: int(o.SndCwnd),
		CongestionRecovery: o.CcState != tcpip.Open,
	}
	if o.SndSsthresh < 1<<30 { // gVisor begins with the largest number there is
		t.Ssthresh = int(o.SndSsthresh)
	}
	if s, ok := ep.Stats().(*tcp.Stats); ok {
		t.SegsIn, t.SegsOut = s.SegmentsReceived.Value(), s.SegmentsSent.Value()
		t.Retransmits = s.SendErrors.Retransmits.Value()
	}
	return t
}

// withPending adds what a connection has taken from the application and gVisor
// has not taken yet.
func (n *netstack) withPending(ep tcpip.Endpoint, s Socket) Socket {
	for _, o := range n.list() {
		if c, ok := o.(*Conn); ok && c.ep == ep {
			s.SendQ += c.pending.Len()
		}
	}
	return s
}
