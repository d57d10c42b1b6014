package stack

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/netfilter"
)

// network is a few hosts and a driver, for one test.
type network struct {
	testing.TB
	drv   *link.Driver
	hosts []*Host
	macs  uint64
}

// inBubble calls f in virtual time. Afterwards it closes everything, and wants
// that every frame was released; that no goroutine is left, the bubble wants.
func inBubble(t *testing.T, f func(n *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, link.DriverConfig{Settle: synctest.Wait, Seed: 1})
		defer n.close()
		f(n)
	})
}

func newNetwork(t testing.TB, cfg link.DriverConfig) *network {
	return &network{TB: t, drv: link.NewDriver(cfg)}
}

func (n *network) close() {
	for _, h := range n.hosts {
		h.Close()
	}
	if n.drv.Virtual() {
		n.wait(2 * fragTimeout) // more than any neighbour or cable keeps a frame
		n.do(func() {
			if live := n.drv.LiveFrames(); live != 0 {
				n.Errorf("%d frames were never released", live)
			}
		})
	}
	n.drv.Close()
}

func (n *network) do(f func())             { n.drv.Do(f) }
func (n *network) wait(d time.Duration)    { n.drv.Sleep(d) }
func (n *network) now() (at time.Duration) { n.do(func() { at = n.drv.Now() }); return at }

// try is for set-up that must work.
func (n *network) try(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

func (n *network) host(cfg Config) *Host {
	n.Helper()
	var h *Host
	n.do(func() { h = NewHost(n.drv, cfg) })
	n.hosts = append(n.hosts, h)
	return h
}

func (n *network) mac() link.MAC {
	n.macs++
	return link.MAC{2, 0, 0, 0, byte(n.macs >> 8), byte(n.macs)}
}

// nic plugs a new device of h into port. Addr may be empty.
func (n *network) nic(h *Host, name, addr string, mtu int, port *link.Port) *Device {
	n.Helper()
	var d *Device
	var err error
	n.do(func() {
		if d, err = h.AddEthernet(name, n.mac(), mtu, port); err == nil && addr != "" {
			err = d.AddAddr(netip.MustParsePrefix(addr))
		}
	})
	n.try(err)
	return d
}

// join connects two hosts with a cable: nic names and addresses of each side.
func (n *network) join(a *Host, nameA, addrA string, b *Host, nameB, addrB string, cfg link.WireConfig) *link.Wire {
	n.Helper()
	mtu := cfg.MTU
	if mtu == 0 {
		mtu = 1500
	}
	var w *link.Wire
	n.do(func() { w = n.drv.NewWire(a.Name()+"-"+b.Name(), cfg) })
	n.nic(a, nameA, addrA, mtu, w.A)
	n.nic(b, nameB, addrB, mtu, w.B)
	return w
}

// route adds "DST via GW" to h, by device dev.
func (n *network) route(h *Host, dst, via, dev string) {
	n.Helper()
	r := Route{Dst: netip.MustParsePrefix(dst), Dev: h.Device(dev)}
	if via != "" {
		r.Via = addr(via)
	}
	n.do(func() { n.try(h.AddRoute(r)) })
}

// pair is two hosts on one cable: 10.0.0.1 and 10.0.0.2.
func (n *network) pair(cfg link.WireConfig) (a, b *Host) {
	n.Helper()
	a, b = n.host(Config{Name: "a"}), n.host(Config{Name: "b"})
	n.join(a, "eth0", "10.0.0.1/24", b, "eth0", "10.0.0.2/24", cfg)
	return a, b
}

// routed is a - r - b: 10.0.1.2, 10.0.1.1 | 10.0.2.1, 10.0.2.2.
func (n *network) routed(left, right link.WireConfig) (a, r, b *Host) {
	n.Helper()
	a, r, b = n.host(Config{Name: "a"}), n.host(Config{Name: "r", Forward: true}), n.host(Config{Name: "b"})
	n.join(a, "eth0", "10.0.1.2/24", r, "eth0", "10.0.1.1/24", left)
	n.join(r, "eth1", "10.0.2.1/24", b, "eth0", "10.0.2.2/24", right)
	n.route(a, "0.0.0.0/0", "10.0.1.1", "eth0")
	n.route(b, "0.0.0.0/0", "10.0.2.1", "eth0")
	return a, r, b
}

// rules loads an iptables-restore script.
func (n *network) rules(h *Host, script string) {
	n.Helper()
	n.do(func() {
		n.try(h.Netfilter().Restore(script, netfilter.RestoreOptions{}))
		h.RulesChanged()
	})
}

// station is the test's own end of a cable: it sends and receives frames.
type station struct {
	n    *network
	mac  link.MAC
	port *link.Port
	got  []seen
}

// station plugs a new device of h into a station.
func (n *network) station(h *Host, name, addr string) (*station, *Device) {
	n.Helper()
	s := &station{n: n, mac: n.mac()}
	var port *link.Port
	n.do(func() {
		port, s.port = n.drv.NewVeth(h.Name()+"/"+name, "station")
		s.port.Bind(func(f *link.Frame) {
			s.got = append(s.got, seen{at: n.drv.Now(), b: append([]byte(nil), f.Bytes()...)})
			f.Release()
		})
	})
	return s, n.nic(h, name, addr, 1500, port)
}

// send sends a frame as it is and waits for what it causes at this instant.
func (s *station) send(b []byte) {
	s.n.do(func() {
		f := s.n.drv.NewFrame(len(b))
		copy(f.Bytes(), b)
		s.port.Send(f)
	})
	s.n.wait(0)
}

// sendIP sends a packet to a device.
func (s *station) sendIP(to *Device, pkt []byte) { s.send(frame(to.MAC, s.mac, etherIPv4, pkt)) }

// connect opens a connection from 10.0.0.2:1234 to port 80 of a host at 10.0.0.1,
// without options, and returns the next sequence number of the host's.
func (s *station) connect(to *Device, isn uint32) (seq uint32) {
	s.sendIP(to, tcpPacket("10.0.0.2:1234", "10.0.0.1:80", tcpSYN, isn, 0, nil))
	got := s.take()
	seq = binary.BigEndian.Uint32(got[len(got)-1].ip().payload()[4:]) + 1
	s.sendIP(to, tcpPacket("10.0.0.2:1234", "10.0.0.1:80", tcpACK, isn+1, seq, nil))
	return seq
}

// take waits until nothing more happens at this instant and returns what came.
func (s *station) take() []seen {
	s.n.wait(0)
	got := s.got
	s.got = nil
	return got
}

// recorder watches devices and keeps what passes.
type recorder struct {
	n    *network
	seen []seen
}

// seen is one frame and when and where it was seen.
type seen struct {
	at    time.Duration
	point string
	dir   link.Direction
	b     []byte
	note  string
	drop  link.Reason
}

// Observe implements link.Observer.
func (r *recorder) Observe(o *link.Observation) {
	r.seen = append(r.seen, seen{o.Time, o.Point.Name, o.Direction, append([]byte(nil), o.Bytes...), o.Note, o.Drop})
}

func (n *network) record(devices ...*Device) *recorder {
	r := &recorder{n: n}
	n.do(func() {
		for _, d := range devices {
			d.Point().Watch(r)
		}
	})
	return r
}

// sent returns the IP packets that left, and forgets everything. On lo a packet
// is seen once, when it comes back.
func (r *recorder) sent() []ipv4 {
	var out []ipv4
	for _, s := range r.seen {
		if (s.dir == link.Out || strings.HasSuffix(s.point, "/lo")) && link.EtherType(s.b) == etherIPv4 {
			out = append(out, s.ip())
		}
	}
	r.seen = nil
	return out
}

// lines describes what was seen, one line each: time, direction, frame.
func (r *recorder) lines() []string {
	var out []string
	for _, s := range r.seen {
		if s.drop == "" {
			out = append(out, fmt.Sprintf("%v %v %s", s.at, s.dir, describe(s.b)))
		}
	}
	r.seen = nil
	return out
}

func (s seen) ip() ipv4 { return ipv4(s.b[link.EthernetHeader:]) }

func (s seen) String() string { return fmt.Sprintf("%v %s", s.at, describe(s.b)) }

// want compares lines and says in a sentence what should have been.
func (n *network) want(sentence string, got []string, want ...string) {
	n.Helper()
	if g, w := strings.Join(got, "\n\t"), strings.Join(want, "\n\t"); g != w {
		n.Errorf("%s:\ngot\n\t%s\nwant\n\t%s", sentence, g, w)
	}
}

// equal compares two values and says in a sentence what should have been.
func equal[T comparable](t testing.TB, sentence string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", sentence, got, want)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// echo sends back what connections to a listener say, each until it is closed.
func (n *network) echo(ln net.Listener) {
	n.drv.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.drv.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
}
