package stack

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	gvipv4 "gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Virtual time rests on what gVisor's Stack.Pause does, which says little about
// that: the processors of TCP do nothing until Resume, a bubble of testing/synctest
// takes them for idle then, and Pause returns no earlier than they have handled
// all that was queued. These tests ask gVisor alone, so that a release of it that
// does otherwise is found here and not in a capture that differs now and then.
const pauseBroken = "this release of gVisor pauses TCP in another way: look at netstack.drain, which takes Resume and Pause for a barrier, and at processor.start and dispatcher.pause in gVisor's transport/tcp/dispatcher.go"

// bareStack is a stack of gVisor and what it sends.
type bareStack struct {
	*stack.Stack
	out *channel.Endpoint
}

func newBareStack(t *testing.T, addr byte) bareStack {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{gvipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC},
	})
	s.Pause()
	out := channel.New(4096, 1500, "")
	out.LinkEPCapabilities |= stack.CapabilityRXChecksumOffload
	if err := s.CreateNIC(1, out); err != nil {
		t.Fatal(err)
	}
	if err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{
		Protocol:          header.IPv4ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4([4]byte{10, 0, 0, addr}), PrefixLen: 24},
	}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	s.AddRoute(tcpip.Route{Destination: header.IPv4EmptySubnet, NIC: 1})
	return bareStack{s, out}
}

// carry hands what s has sent to another, and returns how much that was.
func (s bareStack) carry(to bareStack) (n int) {
	for pkt := s.out.Read(); pkt != nil; pkt = s.out.Read() {
		again := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: pkt.ToBuffer()})
		to.out.InjectInbound(header.IPv4ProtocolNumber, again)
		again.DecRef()
		pkt.DecRef()
		n++
	}
	return n
}

// work lets the processors work.
func (s bareStack) work() {
	s.Resume()
	s.Pause()
}

func (s bareStack) end() {
	s.Resume()
	s.Destroy()
	s.out.Close()
}

func (s bareStack) socket(t *testing.T) tcpip.Endpoint {
	t.Helper()
	ep, err := s.NewEndpoint(tcp.ProtocolNumber, header.IPv4ProtocolNumber, new(waiter.Queue))
	if err != nil {
		t.Fatal(err)
	}
	return ep
}

// pausedPair runs f with two paused stacks, of which the second listens, in a bubble
// and with one processor and several.
func pausedPair(t *testing.T, f func(t *testing.T, a, b bareStack, ln tcpip.Endpoint)) {
	for _, processors := range []int{1, 4} { // gVisor makes as many
		t.Run(fmt.Sprintf("%d processors", processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			stuck := time.AfterFunc(30*time.Second, func() { panic("a bubble does not take a paused processor for idle: " + pauseBroken) })
			defer stuck.Stop()
			synctest.Test(t, func(t *testing.T) {
				a, b := newBareStack(t, 1), newBareStack(t, 2)
				defer a.end()
				defer b.end()
				ln := b.socket(t)
				if err := ln.Bind(tcpip.FullAddress{Port: 80}); err != nil {
					t.Fatal(err)
				}
				if err := ln.Listen(1000); err != nil {
					t.Fatal(err)
				}
				f(t, a, b, ln)
			})
		})
	}
}

var port80 = tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{10, 0, 0, 2}), Port: 80}

// Segments that come to a paused stack wait until Resume, and a stack that has some
// waiting is idle to the bubble.
func TestNothingRunsWhilePaused(t *testing.T) {
	pausedPair(t, func(t *testing.T, a, b bareStack, _ tcpip.Endpoint) {
		const connections = 200
		for range connections {
			if _, started := a.socket(t).Connect(port80).(*tcpip.ErrConnectStarted); !started {
				t.Fatal("no connection was started")
			}
		}
		a.work()
		if n := a.carry(b); n != connections {
			t.Fatalf("%d SYNs, want %d", n, connections)
		}
		for range 3 {
			synctest.Wait()
			if n := b.out.NumQueued(); n != 0 {
				t.Fatalf("a paused stack has answered %d SYNs; %s", n, pauseBroken)
			}
		}
		b.work()
		if n := b.out.NumQueued(); n != connections {
			t.Errorf("when Pause returned, %d of %d SYNs were answered; %s", n, connections, pauseBroken)
		}
	})
}

// Pause returns when nothing is left to do, also for a connection with more segments
// than a processor takes at a time.
func TestPauseIsABarrier(t *testing.T) {
	pausedPair(t, func(t *testing.T, a, b bareStack, ln tcpip.Endpoint) {
		c := a.socket(t)
		c.Connect(port80)
		settled := func(s bareStack) {
			t.Helper()
			s.work()
			n := s.out.NumQueued()
			synctest.Wait()
			s.work()
			if again := s.out.NumQueued(); again != n {
				t.Fatalf("when Pause returned, %d packets were sent, and %d more after it; %s", n, again-n, pauseBroken)
			}
		}
		exchange := func() (sent int) {
			t.Helper()
			settled(a)
			sent = a.carry(b)
			settled(b)
			b.carry(a)
			return sent
		}
		for range 3 {
			exchange()
		}
		peer, _, err := ln.Accept(nil)
		if err != nil {
			t.Fatalf("no connection after the handshake: %v", err)
		}
		burst := 0
		for range 12 { // of slow start
			for full := false; !full; {
				_, err := c.Write(bytes.NewReader(make([]byte, 1<<20)), tcpip.WriteOptions{})
				full = err != nil
			}
			burst = max(burst, exchange())
			for empty := false; !empty; {
				_, err := peer.Read(io.Discard, tcpip.ReadOptions{})
				empty = err != nil
			}
		}
		if burst <= 2*100 { // maxSegmentsPerWake
			t.Fatalf("at most %d segments at once, want more than 200", burst)
		}
	})
}
