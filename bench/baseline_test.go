package bench

import (
	"context"
	"fmt"
	"net"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// The bare pair: two gVisor stacks, and between them a queue with a goroutine
// for each direction. Nothing bridges, routes, filters or captures. This is how
// a program uses gVisor that wants two stacks to talk and nothing more.
const (
	bareMTU   = 1500
	bareQueue = 1024 // packets; more than a receive window holds, so none is dropped
	bareNIC   = tcpip.NICID(1)
)

var bareClient, bareServer = tcpip.AddrFrom4([4]byte{10, 0, 0, 1}), tcpip.AddrFrom4([4]byte{10, 0, 0, 2})

// newBarePair returns the pair, ended with the benchmark.
func newBarePair(tb testing.TB) pair {
	tb.Helper()
	client, clientLink := newBareStack(tb, bareClient)
	server, serverLink := newBareStack(tb, bareServer)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go join(ctx, clientLink, serverLink, ended)
	go join(ctx, serverLink, clientLink, ended)
	tb.Cleanup(func() {
		for _, s := range []*stack.Stack{client, server} {
			s.Close()
			s.Wait()
		}
		stop()
		<-ended
		<-ended
	})
	at := tcpip.FullAddress{NIC: bareNIC, Addr: bareServer, Port: 80}
	ln, err := gonet.ListenTCP(server, at, ipv4.ProtocolNumber)
	if err != nil {
		tb.Fatal(err)
	}
	return pair{
		listener: ln,
		dial:     func() (net.Conn, error) { return gonet.DialTCP(client, at, ipv4.ProtocolNumber) },
	}
}

// join carries packets one way until ctx ends.
func join(ctx context.Context, from, to *channel.Endpoint, ended chan<- struct{}) {
	defer func() { ended <- struct{}{} }()
	for {
		pkt := from.ReadContext(ctx)
		if pkt == nil {
			return
		}
		in := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: pkt.ToBuffer()})
		pkt.DecRef()
		to.InjectInbound(header.IPv4ProtocolNumber, in)
		in.DecRef()
	}
}

// newBareStack returns a stack with one address.
func newBareStack(tb testing.TB, addr tcpip.Address) (*stack.Stack, *channel.Endpoint) {
	tb.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC},
	})
	if err := setBareTCP(s); err != nil {
		tb.Fatal(err)
	}
	ep := channel.New(bareQueue, bareMTU, "")
	// As for podwire's sockets: what never left the process needs no
	// verification. Sums of what is sent are computed, in both.
	ep.LinkEPCapabilities = stack.CapabilityRXChecksumOffload
	if err := s.CreateNIC(bareNIC, ep); err != nil {
		tb.Fatal(err)
	}
	at := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: addr.WithPrefix()}
	if err := s.AddProtocolAddress(bareNIC, at, stack.AddressProperties{}); err != nil {
		tb.Fatal(err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: bareNIC}})
	return s, ep
}

// tcpSettings describes setBareTCP and package stack's setTCPOptions, which
// must agree.
const tcpSettings = "CUBIC, SACK on, RACK off, receive buffer 4096 131072 6291456, send buffer 4096 1048576 4194304, no GSO"

// setBareTCP makes the settings that package stack makes.
func setBareTCP(s *stack.Stack) error {
	sack, rack := tcpip.TCPSACKEnabled(true), tcpip.TCPRecovery(0)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &rack,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: 131072, Max: 6291456},
		&tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: 1 << 20, Max: 4 << 20},
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("bench: TCP option %T: %v", o, err)
		}
	}
	return nil
}
