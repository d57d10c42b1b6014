package text

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/podwire/podwire/pcap"
)

// FuzzPacket prints whatever comes: without a panic, in bounded space, with no
// control character that a terminal would obey.
func FuzzPacket(f *testing.F) {
	for _, file := range captures(f) {
		c, err := pcap.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range c.Packets[:min(len(c.Packets), 4)] {
			f.Add(p.Data, uint16(pcap.Ethernet), true)
		}
	}
	f.Add([]byte("\x45\x00\x00\x14"), uint16(pcap.Raw), false)                                        // a header that is cut
	f.Add([]byte("\x45\x00\xff\xff\x00\x00\x20\x00\x40\x04\x00\x00aaaabbbb"), uint16(pcap.Raw), true) // a forged length, a tunnel without content
	f.Add([]byte("\x00\x00\x00\x01\x00\x06aaaaaa\x00\x00\x08\x00E"), uint16(pcap.LinuxSLL), true)
	f.Fuzz(func(t *testing.T, data []byte, link uint16, verbose bool) {
		p := Printer{Verbose: verbose, Ether: verbose}
		for range 2 { // the second time connections are known
			s := p.Packet(pcap.LinkType(link), data, len(data))
			if len(s) > 64*len(data)+4096 {
				t.Fatalf("%d bytes of text for %d bytes of packet", len(s), len(data))
			}
			if !utf8.ValidString(s) || strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) >= 0 {
				t.Fatalf("not printable: %q", s)
			}
		}
	})
}

// FuzzFilter parses whatever comes, and applies what it accepts.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"", "tcp port 80", "not (arp or icmp)", "src or dst host 1.2.3.4", "ip[6:2] & 0x1fff != 0", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
		"port 80 or 8080", "ether host 00:01:02:03:04:05", "((((", "! ! ! tcp", "net 10", "ip[4294967295:4] = 1", "less -1",
	} {
		f.Add(s, []byte("\x45\x00\x00\x14\x00\x00\x00\x00\x40\x06\x00\x00aaaabbbb\x00\x50"))
	}
	f.Fuzz(func(t *testing.T, expr string, data []byte) {
		filter, err := ParseFilter(expr, nil)
		if err != nil {
			if filter != nil || !strings.Contains(err.Error(), "filter ") {
				t.Fatalf("%q: %v with %v", expr, err, filter)
			}
			return
		}
		for _, link := range []pcap.LinkType{pcap.Ethernet, pcap.Raw, pcap.LinuxSLL, pcap.LinuxSLL2, pcap.Null} {
			filter.Match(link, data)
		}
	})
}
