package wireguard

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podwire/podwire/link"
)

// end is one device of a pair, with what it has sent and delivered.
type end struct {
	*Device
	addr  netip.AddrPort
	peer  *end
	away  time.Duration // how long a message takes to it
	deaf  bool          // what is sent to it is lost
	log   []string      // messages sent, with the time
	got   []string      // packets delivered
	drops map[link.Reason]int
}

// pair is two devices that are each other's peer, in virtual time.
type pair struct {
	*testing.T
	drv  *link.Driver
	a, b *end
}

// inBubble makes a pair whose messages take no time at first. Each test begins at an odd
// moment, so that times of the protocol and of the test do not meet.
func inBubble(t *testing.T, set func(*Config), f func(p *pair)) {
	t.Helper()
	inSeededBubble(t, 7, set, f)
}

// inSeededBubble is inBubble with a seed for the random choices of both ends.
func inSeededBubble(t *testing.T, seed uint64, set func(*Config), f func(p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{T: t, drv: link.NewDriver(link.DriverConfig{Settle: synctest.Wait, Seed: 1})}
		defer p.drv.Close()
		p.drv.Do(func() {
			p.a, p.b = p.end(seed, 1, set), p.end(seed, 2, set)
			p.a.peer, p.b.peer = p.b, p.a
			p.introduce(p.a)
			p.introduce(p.b)
		})
		f(p)
		p.drv.Do(func() {
			p.a.RemovePeer(p.b.PublicKey())
			p.b.RemovePeer(p.a.PublicKey())
			if len(p.a.indices)+len(p.b.indices) != 0 || p.drv.LiveFrames() != 0 {
				t.Errorf("left: %d and %d indices, %d frames", len(p.a.indices), len(p.b.indices), p.drv.LiveFrames())
			}
		})
	})
}

func (p *pair) introduce(e *end) {
	must(p, e.AddPeer(PeerConfig{
		PublicKey: e.peer.PublicKey(), Endpoint: e.peer.addr,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(podOf(e.peer), 24)},
	}))
}

// podOf is an address behind an end: 10.244.N.2.
func podOf(e *end) netip.Addr { return netip.AddrFrom4([4]byte{10, 244, e.addr.Addr().As4()[3], 2}) }

func (p *pair) end(seed uint64, n byte, set func(*Config)) *end {
	e := &end{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 56, n}), 51820), drops: make(map[link.Reason]int)}
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	cfg := Config{
		Driver: p.drv, PrivateKey: NewPrivateKey(rng), Rand: rng, MTU: 1420,
		Send: func(to netip.AddrPort, tos byte, f *link.Frame) {
			e.log = append(e.log, fmt.Sprintf("%v %s", p.drv.Now(), names[messageType(f.Bytes())]))
			if to != e.peer.addr || e.peer.deaf {
				f.Release()
				return
			}
			receive := func() { e.peer.Receive(e.addr, tos, f) }
			if e.peer.away == 0 {
				p.drv.Soon(receive)
				return
			}
			p.drv.AfterFunc(e.source, e.peer.away, receive)
		},
		Deliver: func(f *link.Frame, tos byte) {
			e.got = append(e.got, string(f.Bytes()[20:]))
			f.Release()
		},
		Drop: func(f *link.Frame, why link.Reason) {
			e.drops[why]++
			f.Release()
		},
	}
	if set != nil {
		set(&cfg)
	}
	d, err := New(cfg)
	must(p, err)
	e.Device = d
	return e
}

var names = map[uint32]string{typeInitiation: "initiation", typeResponse: "response", typeCookie: "cookie", typeData: "data"}

// packet is an IPv4 packet between pods with some text in it.
func packet(src, dst netip.Addr, text string) []byte {
	b := make([]byte, 20, 20+len(text))
	b[0], b[8], b[9] = 0x45, 64, 253
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(text)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	return append(b, text...)
}

// send transmits a packet from one end to a pod behind the other.
func (p *pair) send(from *end, text string) {
	p.Helper()
	p.drv.Do(func() { p.transmit(from, text) })
	p.drv.Sleep(0)
}

func (p *pair) transmit(from *end, text string) {
	p.Helper()
	b := packet(podOf(from), podOf(from.peer), text)
	f := p.drv.NewFrame(len(b))
	copy(f.Bytes(), b)
	if !from.Transmit(f) {
		p.Errorf("no peer for %v", podOf(from.peer))
		f.Release()
	}
}

// sendBoth has both ends begin in the same instant.
func (p *pair) sendBoth() {
	p.Helper()
	p.drv.Do(func() {
		p.transmit(p.a, "from a")
		p.transmit(p.b, "from b")
	})
}

// wantLog compares what an end has sent since the last time.
func (p *pair) wantLog(sentence string, e *end, want ...string) {
	p.Helper()
	if !slices.Equal(e.log, want) {
		p.Errorf("%s: sent\n\t%s\nwant\n\t%s", sentence, strings.Join(e.log, "\n\t"), strings.Join(want, "\n\t"))
	}
	e.log = nil
}

func (p *pair) wantGot(sentence string, e *end, want ...string) {
	p.Helper()
	if !slices.Equal(e.got, want) {
		p.Errorf("%s: delivered %q, want %q", sentence, e.got, want)
	}
	e.got = nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait lets virtual time pass.
func (p *pair) wait(d time.Duration) { p.drv.Sleep(d) }
