package diff_test

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/diff"
)

// The captures are of a Linux kernel: a TCP connection through a Service, a
// ping through VXLAN seen on the cable, and two refusals by ICMP.
const (
	tcpFile   = "svc-same-p1a-eth0.pcap"
	vxlanFile = "icmp-n1-eth0.pcap"
	icmpFile  = "svc-rej-p1b-eth0.pcap"
)

func load(t testing.TB, name string) []pcap.Packet {
	t.Helper()
	c, err := pcap.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return c.Packets
}

func compare(t testing.TB, a, b []pcap.Packet, o diff.Options) diff.Report {
	t.Helper()
	r, err := diff.Captures(a, b, pcap.Ethernet, pcap.Ethernet, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func texts(r diff.Report) []string {
	var out []string
	for _, d := range r.Differences {
		out = append(out, d.Text)
	}
	return out
}

func want(t testing.TB, r diff.Report, lines ...string) {
	t.Helper()
	if got := texts(r); !slices.Equal(got, lines) {
		t.Errorf("differences are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

const (
	eth = 14      // where the IP header begins
	l4  = 14 + 20 // where TCP begins
)

// set writes bytes into a packet and mends the checksums of IP and TCP, so that
// the change is the only one. partial ones stay what they are.
func set(list []pcap.Packet, n, at int, b ...byte) {
	d := list[n-1].Data
	copy(d[at:], b)
	mendIP(d)
}

func mendIP(d []byte) {
	d[eth+10], d[eth+11] = 0, 0
	binary.BigEndian.PutUint16(d[eth+10:], ^add(d[eth:eth+20], 0))
}

func add(b []byte, s uint32) uint16 {
	for i, x := range b {
		s += uint32(x) << (8 * (1 - i%2))
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// mendTCP writes a right checksum.
func mendTCP(p *pcap.Packet) {
	d := p.Data
	n := len(d) - l4
	d[l4+16], d[l4+17] = 0, 0
	s := uint32(add(d[eth+12:eth+20], 0)) + 6 + uint32(n)
	binary.BigEndian.PutUint16(d[l4+16:], ^add(d[l4:], s))
}

func TestFieldTCP(t *testing.T) {
	const (
		syn    = "packet 1 (SYN 10.244.1.3 -> 10.244.1.2:8080): "
		synAck = "packet 2 (SYN-ACK 10.244.1.2:8080 -> 10.244.1.3): "
		data   = "packet 4 (PSH-ACK 10.244.1.3 -> 10.244.1.2:8080): "
	)
	for _, c := range []struct {
		name   string
		change func(b []pcap.Packet)
		want   []string
	}{
		{"ttl", func(b []pcap.Packet) { set(b, 2, eth+8, 63) }, []string{synAck + "ip.ttl: 64 here, 63 there"}},
		{"tos", func(b []pcap.Packet) { set(b, 1, eth+1, 0xb8) }, []string{syn + "ip.tos: 0x00 here, 0xb8 there"}},
		{"df", func(b []pcap.Packet) { set(b, 1, eth+6, 0) }, []string{syn + "ip.df: set here, clear there"}},
		{"reserved", func(b []pcap.Packet) { set(b, 1, eth+6, 0xc0) }, []string{syn + "ip.reserved: clear here, set there"}},
		{"id zero", func(b []pcap.Packet) { set(b, 2, eth+4, 0x12, 0x34) }, []string{synAck + "ip.id: 0x0000 here, 0x1234 (not 0) there"}},
		{"id step", func(b []pcap.Packet) { set(b, 11, eth+4, 0, 9) },
			[]string{"packet 11 (ACK 10.244.1.3 -> 10.244.1.2:8080): ip.id: 0xeaa3 (one more than before) here, 0x0009 (another than before) there"}},
		{"ip checksum", func(b []pcap.Packet) { b[0].Data[eth+10] ^= 1 }, []string{syn + "ip.checksum: right here, wrong there"}},
		{"window", func(b []pcap.Packet) { set(b, 2, l4+14, 0xfe, 0x88) }, []string{synAck + "tcp.window: 64308 here, 65160 there"}},
		{"flags", func(b []pcap.Packet) { set(b, 4, l4+13, 0x10) }, []string{data + "tcp.flags: PSH-ACK here, ACK there"}},
		{"urgent", func(b []pcap.Packet) { set(b, 4, l4+18, 0, 7) }, []string{data + "tcp.urgent: 0 here, 7 there"}},
		{"ack", func(b []pcap.Packet) { set(b, 4, l4+11, b[3].Data[l4+11]+1) }, []string{data + "tcp.ack: 1 here, 2 there"}},
		{"mss", func(b []pcap.Packet) { set(b, 1, l4+22, 0x05, 0xb4) }, []string{syn + "tcp.options.mss: 1410 here, 1460 there"}},
		{"wscale", func(b []pcap.Packet) { set(b, 1, l4+39, 7) }, []string{syn + "tcp.options.wscale: 10 here, 7 there"}},
		{"option order", func(b []pcap.Packet) { // NOP after the window scale
			set(b, 1, l4+36, 3, 3, 10, 1)
		}, []string{syn + "tcp.options: [mss sack-permitted timestamps nop wscale] here, [mss sack-permitted timestamps wscale nop] there"}},
		{"tsecr", func(b []pcap.Packet) { set(b, 4, l4+28, 1, 2, 3, 4) },
			[]string{data + "tcp.options.tsecr: what the peer sent here, what the peer has not sent there"}},
		{"tsecr zero", func(b []pcap.Packet) { set(b, 4, l4+28, 0, 0, 0, 0) }, []string{data + "tcp.options.tsecr: what the peer sent here, 0 there"}},
		{"unknown option", func(b []pcap.Packet) { set(b, 4, l4+20, 254, 2) },
			[]string{data + "tcp.options: [nop nop timestamps] here, [option-254 timestamps] there", data + "tcp.options.other: absent here, 2 bytes there"}},
		{"payload", func(b []pcap.Packet) { set(b, 4, l4+32+1, 'u') },
			[]string{data + "tcp.payload: byte 1 is 656c6c6f here, byte 1 is 756c6c6f there"}},
		{"length", func(b []pcap.Packet) { // frames, IP and TCP are one longer: one finding
			b[10].Data = append(b[10].Data, 'x')
			b[10].OrigLen = 0
			set(b, 11, eth+3, 53)
			mendTCP(&b[10])
		}, []string{"packet 11 (ACK 10.244.1.3 -> 10.244.1.2:8080): only here", "packet 11 there (ACK 10.244.1.3 -> 10.244.1.2:8080): only there"}},
		{"padding", func(b []pcap.Packet) { b[10].Data = append(b[10].Data, 0, 0); b[10].OrigLen = 0 },
			[]string{"packet 11 (ACK 10.244.1.3 -> 10.244.1.2:8080): frame.padding: 0 here, 2 there"}},
		{"cut", func(b []pcap.Packet) { b[3].Data = b[3].Data[:l4+34] }, []string{data + "frame.cut: clear here, set there", data + "tcp.checksum: partial (left to the network card) here, unknown (not all bytes are there) there"}},
		{"checksum right", func(b []pcap.Packet) { mendTCP(&b[0]) },
			[]string{syn + "tcp.checksum: partial (left to the network card) here, right there"}},
		{"checksum wrong", func(b []pcap.Packet) { b[0].Data[l4+16] ^= 1 },
			[]string{syn + "tcp.checksum: partial (left to the network card) here, wrong there"}},
		{"mac of one packet", func(b []pcap.Packet) { b[0].Data[11] ^= 1 },
			[]string{syn + "eth.src: ea:de:38:57:a0:51 here, ea:de:38:57:a0:50 there"}},
		{"ethertype", func(b []pcap.Packet) { b[0].Data[13] = 1 },
			[]string{"packet 1 (SYN 10.244.1.3 -> 10.244.1.2:8080): only here", "packet 1 there (74 bytes of ethertype 0x0801): only there"}},
		{"payload length", func(b []pcap.Packet) { // IP and TCP are one longer: one finding
			b[3].Data, b[3].OrigLen = append(b[3].Data, 'x'), 0
			set(b, 4, eth+3, 58)
			mendTCP(&b[3])
		}, []string{data + "tcp.checksum: partial (left to the network card) here, right there", data + "tcp.len: 5 here, 6 there"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := load(t, tcpFile), load(t, tcpFile)
			c.change(b)
			r := compare(t, a, b, diff.Options{})
			want(t, r, c.want...)
		})
	}
}
