package stack

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// TestWrongChecksumIsDropped: by whoever the packet is for, in silence.
func TestWrongChecksumIsDropped(t *testing.T) {
	for name, pkt := range map[string][]byte{
		"UDP": udpPacket("10.0.0.2:1", "10.0.0.1:9", []byte("x")), "TCP": tcpPacket("10.0.0.2:1", "10.0.0.1:9", tcpSYN, 1, 0, nil),
		"ICMP": echoPacket(between("10.0.0.2", "10.0.0.1", 0), 1, 8),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				_, d, s := host1(n, Config{Name: "a"})
				s.sendIP(d, pkt)
				equal(t, "answers to the right one", len(s.take()), 1)
				wrong := bytes.Clone(pkt)
				wrong[len(wrong)-1] ^= 1
				s.sendIP(d, wrong)
				equal(t, "answers to the wrong one", len(s.take()), 0)
				equal(t, "dropped", d.Point().Drops(DropChecksum), 1)
			})
		})
	}
	inBubble(t, func(n *network) {
		_, d, s := host1(n, Config{Name: "a"})
		none := udpPacket("10.0.0.2:1", "10.0.0.1:9", []byte("x"))
		none[26], none[27] = 0, 0
		s.sendIP(d, none)
		equal(t, "answers to a datagram without a checksum", len(s.take()), 1)
	})
}

// TestWrongChecksumIsInvalid: connection tracking makes no flow of it
// (nf_conntrack_checksum), and REJECT does not answer.
func TestWrongChecksumIsInvalid(t *testing.T) {
	inBubble(t, func(n *network) {
		h, d, s := host1(n, Config{Name: "a"})
		n.rules(h, "*filter\n-A INPUT -m conntrack --ctstate INVALID -p udp --dport 1 -j REJECT\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n")
		for _, port := range []string{"1", "2"} {
			wrong := udpPacket("10.0.0.2:1", "10.0.0.1:"+port, []byte("x"))
			wrong[len(wrong)-1] ^= 1
			s.sendIP(d, wrong)
		}
		equal(t, "answers", len(s.take()), 0)
		equal(t, "flows", h.track.Len(), 0)
		equal(t, "dropped by the rule", d.Point().Drops(DropNetfilter), 1)
		equal(t, "rejected", d.Point().Drops(DropChecksum), 1)
	})
}

// TestCorruptingCable: bits that flip on a cable never reach an application;
// TCP sends again.
func TestCorruptingCable(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond, Corrupt: 0.05})
		ln, err := b.Listen("tcp", ":80")
		n.try(err)
		sent := bytes.Repeat([]byte("podwire!"), 32<<10)
		n.drv.Go(func() {
			c, err := a.Dial("tcp", "10.0.0.2:80")
			if err == nil {
				c.Write(sent)
				c.Close()
			}
		})
		c, err := ln.Accept()
		n.try(err)
		got, err := io.ReadAll(c)
		n.try(err)
		if !bytes.Equal(got, sent) {
			t.Errorf("%d bytes arrived, want %d, all as they were sent", len(got), len(sent))
		}
		if d := b.Device("eth0").Point().Drops(DropChecksum); d == 0 {
			t.Error("no segment was dropped for its checksum: this test looks at nothing")
		}
	})
}
