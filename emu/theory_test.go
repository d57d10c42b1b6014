//go:build !race

// Minutes of full cables: under the race detector they take ten times as long and
// show nothing that shorter streams do not.

package emu_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// mss is the payload of a full segment: MTU 1500 less IP, TCP and timestamps.
const mss = 1448

// stream is a TCP connection from a to b that is kept full. It returns how much
// b has received at each of the times, counted from the first byte sent.
func stream(t *testing.T, lab *emutest.Lab, a, b *emu.Machine, at ...time.Duration) (received []int64, conn *stack.Conn) {
	t.Helper()
	ln, err := b.Listen("tcp", ":5001")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var total int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 1<<20)
		for {
			n, err := c.Read(buf)
			lab.Driver().Do(func() { total += int64(n) })
			if err != nil {
				return
			}
		}
	}()
	c, err := a.Dial("tcp", fmt.Sprintf("%v:5001", b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	}()
	start := lab.Now()
	for _, d := range at {
		lab.Sleep(start + d - lab.Now())
		lab.Driver().Do(func() { received = append(received, total) })
	}
	conn = c.(*stack.Conn)
	info := conn.TCPInfo()
	t.Logf("%v: cwnd %d, ssthresh %d, rtt %v, %d retransmitted", at[len(at)-1], info.Cwnd, info.Ssthresh, info.RTT, info.Retransmits)
	a.SetLink(false) // what is still queued goes nowhere
	c.Close()
	<-stop
	b.SetLink(false)
	ln.Close()
	lab.Machine(b.Name()).Stack().Close()
	<-done
	return received, conn
}

// pairOfHosts is two machines whose cables are as given; a has the bottleneck.
func pairOfHosts(t *testing.T, lab *emutest.Lab, out, in link.WireConfig, sysctls map[string]string) (a, b *emu.Machine) {
	t.Helper()
	for _, name := range []string{"a", "b"} {
		if _, err := lab.AddHost(emu.HostConfig{Name: name, Sysctls: sysctls}); err != nil {
			t.Fatal(err)
		}
	}
	a, b = lab.Machine("a"), lab.Machine("b")
	if err := a.SetCable("", out, in); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestGoodputOfADropTailCable: after slow start a stream fills the cable, and
// its goodput is the rate times the share of payload in what is on the wire:
// 1448 of 1538 bytes.
func TestGoodputOfADropTailCable(t *testing.T) {
	for _, rate := range []int64{10e6, 100e6, 1000e6} {
		t.Run(fmt.Sprint(rate/1e6, " Mbit"), func(t *testing.T) {
			emutest.Run(t, emu.Config{}, func(t *testing.T, lab *emutest.Lab) {
				latency := 500 * time.Microsecond
				a, b := pairOfHosts(t, lab, link.WireConfig{Rate: rate, Latency: latency}, link.WireConfig{Latency: latency}, nil)
				// A second of the fast one costs as much as all of the slow ones.
				from, to := time.Second, 3*time.Second
				if rate == 1000e6 {
					from, to = time.Second/2, time.Second
				}
				got, _ := stream(t, lab, a, b, from, to)
				goodput := float64(got[1]-got[0]) * 8 / (to - from).Seconds()
				want := float64(rate) * mss / (1500 + link.EthernetHeader + link.FrameOverhead)
				if math.Abs(goodput/want-1) > 0.01 {
					t.Errorf("goodput %.2f Mbit/s, want %.2f within 1 %%", goodput/1e6, want/1e6)
				}
			})
		})
	}
}

// TestReceiveWindowGrows: on a path of 100 Mbit/s and 100 ms a window of 64 KiB
// would allow 5 Mbit/s.
func TestReceiveWindowGrows(t *testing.T) {
	emutest.Run(t, emu.Config{}, func(t *testing.T, lab *emutest.Lab) {
		half := 50 * time.Millisecond
		a, b := pairOfHosts(t, lab, link.WireConfig{Rate: 100e6, Latency: half}, link.WireConfig{Latency: half}, nil)
		got, _ := stream(t, lab, a, b, 8*time.Second, 9*time.Second)
		if goodput := float64(got[1]-got[0]) * 8; goodput < 50e6 {
			t.Errorf("goodput %.1f Mbit/s, want 50 or more", goodput/1e6)
		}
	})
}
