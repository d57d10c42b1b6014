package link

import (
	"fmt"
	"testing"
	"time"
)

// switched is a bridge and the far ends of its ports; station i has MAC i.
type switched struct {
	*Bridge
	d     *Driver
	far   []*Port
	sinks []*sink
	ports []*BridgePort
}

func newSwitched(d *Driver, n int) *switched {
	s := &switched{Bridge: d.NewBridge("br0"), d: d}
	for i := range n {
		near, far := d.NewVeth(fmt.Sprint("near", i), fmt.Sprint("far", i))
		s.ports = append(s.ports, s.AddPort(fmt.Sprint("port", i), near))
		s.far = append(s.far, far)
		k := &sink{d: d}
		far.Bind(func(f *Frame) {
			k.got = append(k.got, fmt.Sprintf("%v>%v", SrcMAC(f.Bytes())[5], DstMAC(f.Bytes())[5]))
			f.Release()
		})
		s.sinks = append(s.sinks, k)
	}
	return s
}

func mac(i int) MAC { return MAC{2, 0, 0, 0, byte(i >> 8), byte(i)} }

// send sends a frame of 60 bytes from port at, and says which ports it left by.
func (s *switched) send(at int, src, dst MAC) (left []int) { return s.sendSize(at, src, dst, 46) }

// sendSize is send with a payload of n bytes.
func (s *switched) sendSize(at int, src, dst MAC, n int) (left []int) {
	s.d.Do(func() {
		f := s.d.NewFrame(EthernetHeader + n)
		PutEthernet(f.Bytes(), dst, src, 0x88b5) // for local experiments: not IP, so that nobody but a bridge cares
		s.far[at].Send(f)
	})
	s.d.Sleep(0)
	for i, k := range s.sinks {
		for range k.got {
			left = append(left, i)
		}
		k.got = nil
	}
	return left
}

func TestBridgeLearns(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 3)
		ports := func(sentence string, got []int, want ...int) {
			t.Helper()
			equal(t, sentence, fmt.Sprint(got), fmt.Sprint(want))
		}
		ports("not known: flooded", s.send(0, mac(1), mac(2)), 1, 2)
		ports("the answer is not", s.send(1, mac(2), mac(1)), 0)
		ports("nor the next", s.send(0, mac(1), mac(2)), 1)
		ports("broadcast", s.send(0, mac(1), Broadcast), 1, 2)
		ports("moved: flooded no more than before", s.send(2, mac(2), mac(1)), 0)
		ports("to where it has moved", s.send(0, mac(1), mac(2)), 2)
		ports("behind the port it came from", s.send(2, mac(9), mac(2)))
		equal(t, "counted", s.Point().Drops(DropOnlyPort), 1)
		d.Sleep(time.Second)
		d.Do(func() {
			var got []string
			for _, e := range s.FDB() {
				got = append(got, fmt.Sprint(e.MAC, " ", e.Port, " ", e.Age, " ", e.Static))
			}
			want(t, "FDB", got, "02:00:00:00:00:01 port0 1s false", "02:00:00:00:00:02 port2 1s false", "02:00:00:00:00:09 port2 1s false")
		})
	})
}

func TestAgeingIsExact(t *testing.T) {
	for _, ageing := range []time.Duration{0, 15 * time.Second} {
		inBubble(t, func(t *testing.T, d *Driver) {
			s := newSwitched(d, 3)
			s.Ageing = ageing
			after := ageing
			if after == 0 {
				after = 300 * time.Second
			}
			s.send(0, mac(1), Broadcast)
			d.Sleep(after - 1)
			equal(t, "a nanosecond before", fmt.Sprint(s.send(1, mac(2), mac(1))), "[0]")
			d.Sleep(1)
			d.Do(func() { equal(t, "FDB entries", len(s.FDB()), 1) })
			equal(t, "when it has aged", fmt.Sprint(s.send(1, mac(2), mac(1))), "[0 2]")
			s.send(0, mac(1), Broadcast)
			d.Sleep(after - 1)
			s.send(0, mac(1), Broadcast) // seen again: stays
			d.Sleep(after - 1)
			equal(t, "refreshed", fmt.Sprint(s.send(1, mac(2), mac(1))), "[0]")
		})
	}
}

func TestBridgeRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 3)
		for _, tt := range []struct {
			name     string
			src, dst MAC
			why      Reason
		}{
			{"group 01", mac(1), MAC{1, 0x80, 0xc2, 0, 0, 1}, DropLinkLocal},
			{"group 0f", mac(1), MAC{1, 0x80, 0xc2, 0, 0, 15}, DropLinkLocal},
			{"group source", MAC{3, 0, 0, 0, 0, 1}, mac(2), DropSource},
			{"zero source", MAC{}, mac(2), DropSource},
		} {
			before := s.Point().Drops(tt.why)
			equal(t, tt.name+" forwarded to", len(s.send(0, tt.src, tt.dst)), 0)
			equal(t, tt.name+" counted", s.Point().Drops(tt.why)-before, 1)
		}
		equal(t, "group 10 is an ordinary group", fmt.Sprint(s.send(0, mac(1), MAC{1, 0x80, 0xc2, 0, 0, 16})), "[1 2]")
		d.Do(func() { s.far[0].Send(d.NewFrame(13)) })
		d.Sleep(0)
		equal(t, "runt", s.Point().Drops(DropRunt), 1)
	})
}

func TestHairpinAndIsolation(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 4)
		s.ports[0].Hairpin = true
		s.ports[1].Isolated, s.ports[2].Isolated = true, true
		equal(t, "broadcast from a hairpin port", fmt.Sprint(s.send(0, mac(1), Broadcast)), "[0 1 2 3]")
		equal(t, "from an isolated port", fmt.Sprint(s.send(1, mac(2), Broadcast)), "[0 3]")
		s.send(2, mac(3), mac(1))
		equal(t, "unicast back by a hairpin port", fmt.Sprint(s.send(0, mac(8), mac(1))), "[0]")
		equal(t, "unicast between isolated ports", len(s.send(1, mac(2), mac(3))), 0)
		equal(t, "counted", s.Point().Drops(DropIsolated), 1)
		equal(t, "to an isolated port from another", fmt.Sprint(s.send(3, mac(4), mac(3))), "[2]")
	})
}

func TestPortMTU(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 3)
		s.ports[1].MTU, s.ports[2].MTU = 45, 46
		equal(t, "flooded where it fits", fmt.Sprint(s.send(0, mac(1), Broadcast)), "[2]")
		equal(t, "counted", s.Point().Drops(DropMTU), 1)
	})
}

func TestStaticEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 3)
		d.Do(func() { s.AddStatic(mac(1), s.ports[0]) })
		s.send(2, mac(1), Broadcast) // pretends to be 1
		d.Sleep(time.Hour)
		equal(t, "stays where it was put", fmt.Sprint(s.send(1, mac(2), mac(1))), "[0]")
		d.Do(func() { s.RemovePort(s.ports[0]) })
		equal(t, "until the port goes", fmt.Sprint(s.send(1, mac(2), mac(1))), "[2]")
	})
}

func TestRemovePort(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 3)
		s.send(2, mac(3), Broadcast)
		d.Do(func() { s.RemovePort(s.ports[2]) })
		d.Do(func() { equal(t, "FDB entries", len(s.FDB()), 0); equal(t, "ports", len(s.Ports()), 2) })
		equal(t, "flooded to the others", fmt.Sprint(s.send(0, mac(1), mac(3))), "[1]")
		equal(t, "what comes in by it goes nowhere", len(s.send(2, mac(3), mac(1))), 0)
	})
}

func TestFDBIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 2)
		learn := func(from, to int) {
			d.Do(func() {
				for i := from; i < to; i++ {
					s.learn(MAC{2, 1, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}, s.ports[0])
				}
			})
		}
		d.Sleep(time.Second)
		learn(0, maxFDB+100)
		equal(t, "entries", len(s.fdb), maxFDB)
		equal(t, "counted", s.Point().Drops("forwarding database is full"), 100)
		equal(t, "a stranger is flooded to", fmt.Sprint(s.send(0, mac(1), mac(9))), "[1]")
		d.Sleep(DefaultAgeing)
		learn(1<<20, 1<<20+100)
		equal(t, "entries when the others have aged", len(s.fdb), 100)
	})
}

// TestLocal: what the bridge's own host sees, and what it sends.
func TestLocal(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 2)
		var got []string
		s.LocalMAC = mac(100)
		s.Local = func(f *Frame, in *BridgePort, copied bool) {
			got = append(got, fmt.Sprint(in.Name, " to ", DstMAC(f.Bytes())[5], " copied ", copied))
			if !copied {
				f.Release()
			}
		}
		equal(t, "to the host", len(s.send(0, mac(1), mac(100))), 0)
		equal(t, "broadcast", fmt.Sprint(s.send(0, mac(1), Broadcast)), "[1]")
		equal(t, "flooded", fmt.Sprint(s.send(0, mac(1), mac(2))), "[1]")
		s.send(1, mac(2), mac(1))
		want(t, "the host sees", got, "port0 to 100 copied false", "port0 to 255 copied false", "port0 to 2 copied false", "port1 to 1 copied true")
		transmit := func(dst MAC) string {
			d.Do(func() {
				f := d.NewFrame(60)
				PutEthernet(f.Bytes(), dst, mac(100), 0x0800)
				s.Transmit(f)
			})
			d.Sleep(0)
			n := fmt.Sprint(len(s.sinks[0].got), len(s.sinks[1].got))
			s.sinks[0].got, s.sinks[1].got = nil, nil
			return n
		}
		equal(t, "from the host to a known address", transmit(mac(2)), "0 1")
		equal(t, "to an unknown one", transmit(mac(7)), "1 1")
		equal(t, "to all", transmit(Broadcast), "1 1")
		equal(t, "seen by the host again", len(got), 4)
	})
}
