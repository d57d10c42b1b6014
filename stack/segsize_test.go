package stack

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// TestOptionsAreKnown fails when a release of gVisor has other fields: its segments
// are then 28 bytes shorter than Linux', and right.
func TestOptionsAreKnown(t *testing.T) {
	if !optionsKnown {
		t.Fatalf("gVisor %s: fields not found: %+v", GVisorVersion, ofOptions)
	}
}

// Streams both ways over a line that loses: full segments fill the MTU, none is
// larger or cut, and what is missing is reported, with data where there is room. One
// end is not read for long: its window is filled, and it must still hear what is
// acknowledged.
func TestSegmentsFillTheMTU(t *testing.T) {
	for _, mtu := range []int{560, 576, 604, 1450, 1500, 9000} {
		inBubble(t, func(n *network) {
			a, b := n.host(Config{Name: "a"}), n.host(Config{Name: "b"})
			n.join(a, "eth0", "10.0.0.1/24", b, "eth0", "10.0.0.2/24", link.WireConfig{Rate: 1e9, Latency: time.Millisecond, Loss: 0.01, MTU: mtu})
			rec := n.record(a.Device("eth0"), b.Device("eth0"))
			c, s := connect(n, a, b, "10.0.0.2:80")
			message := bytes.Repeat([]byte("podwire "), 50*mtu)
			for _, from := range []io.Writer{c, s} {
				n.drv.Go(func() { from.Write(message) })
			}
			for _, to := range []io.Reader{c, s} {
				got := make([]byte, len(message))
				if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, message) {
					t.Errorf("MTU %d: the message was not received: %v", mtu, err)
				}
			}
			var full, reports, reportsWithData int
			for _, x := range rec.seen {
				if link.EtherType(x.b) != etherIPv4 || x.dir != link.Out {
					continue
				}
				ip := x.ip()
				seg := ip.payload()
				switch {
				case len(ip) > mtu || ip.fragment():
					t.Fatalf("MTU %d: %v", mtu, x)
				case len(ip) == mtu:
					full++
				}
				if hasSACK(seg) {
					reports++
					if len(seg) > int(seg[12]>>4)*4 {
						reportsWithData++
					}
				}
				before := bytes.Clone(ip)
				if sumTransport(ip); !bytes.Equal(ip, before) {
					t.Fatalf("MTU %d: wrong checksum: %v", mtu, x)
				}
			}
			if least := 2 * len(message) / mtu * 9 / 10; full < least {
				t.Errorf("MTU %d: %d full segments, want %d or more", mtu, full, least)
			}
			if reports < 10 || reports == reportsWithData {
				t.Errorf("MTU %d: %d segments with SACK blocks, %d of them with data, want more without", mtu, reports, reportsWithData)
			}
		})
	}
}

// Without SACK there was never any room left free.
func TestSegmentsWithoutSACK(t *testing.T) {
	inBubble(t, func(n *network) {
		_, d, st := host1(n, Config{Name: "a"})
		h := n.hosts[0]
		ln, err := h.Listen("tcp", ":80")
		n.try(err)
		defer ln.Close()
		st.connect(d, 1000) // its MSS is 536
		c, err := ln.Accept()
		n.try(err)
		st.take()
		c.Write(make([]byte, 5000))
		n.wait(0)
		equal(t, "size of the first segment", len(st.take()[0].ip()), 536+40)
		c.Close()
	})
}
