package diff_test

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/diff"
)

// frame makes a packet of hexadecimal text; spaces part the headers' fields.
func frame(t testing.TB, text ...string) pcap.Packet {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(text, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return pcap.Packet{Data: b}
}

const (
	macs   = "020000000002 020000000001 "
	arpAsk = "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002"
	tagged = macs + "8100 200a 0800 45 00 001c 0000 4000 40 01 26df 0a000001 0a000002 08 00 f7fe 0000 0001"
	cut    = macs + "0800 45 00 0024 0007 2000 40 11 46c7 0a000001 0a000002" // first fragment of UDP
	later  = macs + "0800 45 00 001c 0007 0002 40 11 66cd 0a000001 0a000002 0102030405060708"
	ip6    = macs + "86dd 60000000 0008 3a 40 20010db8000000000000000000000001 20010db8000000000000000000000002 80 00 24aa 0000 0001"
	ospf   = macs + "0800 46 00 0020 0000 4000 40 59 0000 0a000001 0a000002 94040000 0201 0008 01020304"
	tooBig = macs + "0800 45 c0 0038 0001 0000 40 01 65f2 0a000001 0a000002 03 04 f6eb 0000 05aa" +
		"45 00 05dc 0000 4000 3f 11 221e 0a000002 0a000001 9c40 0035 05c8 0000"
	ipip = macs + "0800 45 00 0030 0001 0000 40 04 66b9 0a000001 0a000002" +
		"45 00 001c 0000 4000 40 01 0000 0a010001 0a010002 08 00 f7fe 0000 0001"
	lldp = "0180c200000e 020000000001 88cc 0207040200000000010000"
)

// Every field that the captures in testdata do not have.
func TestFieldOfHandMadeFrames(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame string
		at    int
		b     byte
		want  string // fields and values
	}{
		{"arp opcode", arpAsk, 21, 3, "arp.opcode: 1 here, 3 there"},
		{"arp broadcast", arpAsk, 0, 1, "eth.dst: ff:ff:ff:ff:ff:ff here, 01:ff:ff:ff:ff:ff there"},
		{"arp sender's mac", arpAsk, 22, 0, "arp.sender.mac: 02:00:00:00:00:01 here, 00:00:00:00:00:01 there"},
		{"arp target's mac", arpAsk, 32, 2, "arp.target.mac: 00:00:00:00:00:00 here, 02:00:00:00:00:00 there"},
		{"vlan id", tagged, 15, 11, "vlan.id: 10 here, 11 there"},
		{"vlan priority", tagged, 14, 0x40, "vlan.priority: 2 here, 4 there"},
		{"icmp echo code", tagged, 14 + 4 + 21, 1, "icmp.code: 0 here, 1 there"},
		{"icmp sequence", tagged, 14 + 4 + 27, 2, "icmp.seq: 1 here, 2 there"},
		{"more fragments", later, 20, 0x20, "ip.mf: clear here, set there"},
		{"fragment's bytes", later, 34, 9, "ip.payload: byte 0 is 0102030405060708 here, byte 0 is 0902030405060708 there"},
		{"hop limit", ip6, 14 + 7, 63, "ip.ttl: 64 here, 63 there"},
		{"traffic class", ip6, 14, 0x6c, "ip.tos: 0x00 here, 0xc0 there"},
		{"flow label", ip6, 14 + 3, 1, "ip.label: clear here, set there"},
		{"icmpv6 sequence", ip6, 14 + 47, 2, "icmp.seq: 1 here, 2 there"},
		{"ip options", ospf, 34, 0x93, "ip.options: byte 0 is 94040000 here, byte 0 is 93040000 there"},
		{"other protocol's bytes", ospf, 45, 5, "ip.payload: byte 7 is 04 here, byte 7 is 05 there"},
		{"ip length", ospf, 17, 31, "frame.padding: 0 here, 1 there; ip.len: 32 here, 31 there"},
		{"next-hop mtu", tooBig, 14 + 27, 0x8c, "icmp.mtu: 1450 here, 1420 there"},
		{"unused of too big", tooBig, 14 + 25, 1, "icmp.rest: 0x0000 here, 0x0001 there"},
		{"quoted length", tooBig, 14 + 28 + 25, 0xc9, "quoted.udp.len: 1480 here, 1481 there"},
		{"outer ttl of ipip", ipip, 22, 3, "outer.ip.ttl: 64 here, 3 there"},
		{"outer source of ipip", ipip, 29, 9, "outer.ip.src: 10.0.0.1 here, 10.0.0.9 there"},
		{"inner ttl of ipip", ipip, 14 + 28, 1, "ip.ttl: 64 here, 1 there"},
		{"inner id of ipip", ipip, 14 + 25, 7, "ip.id: 0x0000 here, 0x0007 (not 0) there"},
		{"inner source of ipip", ipip, 14 + 35, 7, "ip.src: 10.1.0.1 here, 10.1.0.7 there"},
		{"not ip", lldp, 16, 5, "ip.payload: byte 2 is 0402000000000100 here, byte 2 is 0502000000000100 there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := frame(t, c.frame), frame(t, c.frame)
			b.Data[c.at] = c.b
			o := diff.Options{Ignore: []string{"icmp.checksum", "ip.checksum"}}
			var got []string
			for _, d := range compare(t, []pcap.Packet{a}, []pcap.Packet{b}, o).Differences {
				_, text, _ := strings.Cut(d.Text, "): ")
				got = append(got, text)
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("byte %d set to %#x: differences %q, want %q", c.at, c.b, got, c.want)
			}
		})
	}
}

// A later fragment belongs to the flow of the first, whose ports it does not
// have.
func TestFragmentsFollowTheirFlow(t *testing.T) {
	first := cut + "9c40 0035 0018 0000 6162636465666768"
	a := []pcap.Packet{frame(t, first), frame(t, later)}
	b := []pcap.Packet{frame(t, strings.Replace(first, "9c40", "9c41", 1)), frame(t, later)}
	want(t, compare(t, a, b, diff.Options{Ignore: []string{"ip.checksum"}}))
	want(t, compare(t, a, b[:1], diff.Options{}), "packet 2 (fragment at 16 10.0.0.1 -> 10.0.0.2): only here")
}

// What belongs to no socket is numbered as the clock has it: a step of one and a
// step of no more than a millisecond each are alike.
func TestIdentificationByTheClock(t *testing.T) {
	run := func(after time.Duration, id string, proto string) []pcap.Packet {
		head := macs + "0800 45 00 001c ID 0000 40 " + proto + " 0000 0a000001 0a000002 00 00 0000 0005 0001"
		list := []pcap.Packet{frame(t, strings.Replace(head, "ID", "0100", 1)), frame(t, strings.Replace(head, "ID", id, 1))}
		list[1].Time = list[0].Time.Add(after)
		return list
	}
	o := diff.Options{Ignore: []string{"ip.checksum", "icmp.checksum"}}
	want(t, compare(t, run(100*time.Millisecond, "0101", "01"), run(100*time.Millisecond, "0165", "01"), o))
	for _, b := range [][]pcap.Packet{run(100*time.Millisecond, "0166", "01"), run(100*time.Millisecond, "00ff", "01"), run(time.Millisecond, "0103", "01")} {
		if r := compare(t, run(100*time.Millisecond, "0101", "01"), b, o); len(r.Differences) != 1 || r.Differences[0].Field != "ip.id" {
			t.Errorf("differences are %q, want one of ip.id", texts(r))
		}
	}
}

// What ping writes into requests first is the time, which no two runs share.
func TestTimeInEcho(t *testing.T) {
	echo := func(data string) []pcap.Packet {
		return []pcap.Packet{frame(t, macs+"0800 45 00 0034 0000 4000 40 01 26c7 0a000001 0a000002 08 00 f7fe 0000 0001 "+data)}
	}
	const tail = "1011121314151617"
	a, b := echo("9ad1026b00000000 0102000000000000"+tail), echo("00000038 00000000 3f420f0000000000"+tail)
	o := diff.Options{Ignore: []string{"icmp.checksum"}}
	want(t, compare(t, a, b, o))
	who := "packet 1 (echo request 10.0.0.1 -> 10.0.0.2): "
	want(t, compare(t, a, echo("9ad1026b00000000 0102000000000000 1011121314151618"), o),
		who+"icmp.payload: byte 7 is 17 here, byte 7 is 18 there")
	want(t, compare(t, a, echo("0001020304050607 08090a0b0c0d0e0f"+tail), o),
		who+"icmp.time: present here, absent there", who+"icmp.payload: byte 0 is 1011121314151617 here, byte 0 is 0001020304050607 there")
	o.Strict = true
	want(t, compare(t, a, b, o), who+"icmp.payload: byte 0 is 9ad1026b00000000 here, byte 0 is 0000003800000000 there")
}

// The first fragment of a tunnel's packet shows what is inside.
func TestTunnelInAFragment(t *testing.T) {
	run := func(mac, ttl string) []pcap.Packet {
		return []pcap.Packet{frame(t, macs+"0800 45 00 0056 0007 2000 40 11 46c7 0a000001 0a000002 9c40 2118 0100 0000 08000000 00000100"+
			mac+"020000000010 0800 45 00 0100 0000 4000 "+ttl+" 01 0000 0a010001 0a010002 08 00 f7fe 0000 0001 0001020304050607")}
	}
	o := diff.Options{Ignore: []string{"ip.checksum"}}
	want(t, compare(t, run("020000000011", "3f"), run("020000000012", "3f"), o))
	want(t, compare(t, run("020000000011", "3f"), run("020000000011", "40"), o),
		"packet 1 (echo request 10.1.0.1 -> 10.1.0.2 in VXLAN 10.0.0.1 -> 10.0.0.2): ip.ttl: 63 here, 64 there")
}

// What is not IP has no length but the frame's.
func TestLengthOfOtherFrames(t *testing.T) {
	a, b := frame(t, lldp), frame(t, lldp+"00")
	want(t, compare(t, []pcap.Packet{a}, []pcap.Packet{b}, diff.Options{}),
		"packet 1 (25 bytes of ethertype 0x88cc): frame.len: 25 here, 26 there")
}

// Link-local addresses come from MACs and map one to one, as those do.
func TestLinkLocalAddressesMap(t *testing.T) {
	rs := func(last string) pcap.Packet {
		return frame(t, "333300000002 0200000000"+last+" 86dd 60000000 0008 3a ff fe8000000000000000000000000000"+last+" ff020000000000000000000000000002 85 00 0000 00000000")
	}
	a, b := []pcap.Packet{rs("01"), rs("02"), rs("01")}, []pcap.Packet{rs("a1"), rs("a2"), rs("a1")}
	o := diff.Options{Ignore: []string{"icmp.checksum"}}
	want(t, compare(t, a, b, o))
	if compare(t, a, b, diff.Options{Strict: true}).Same() {
		t.Error("strict mode: other link-local addresses are the same, want differences")
	}
}

func TestCookedCapture(t *testing.T) {
	list := load(t, tcpFile)
	sll, sll2 := make([]pcap.Packet, len(list)), make([]pcap.Packet, len(list))
	for i, p := range list {
		sll[i], sll2[i] = p, p
		sll[i].Data = slices.Concat([]byte{0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0}, p.Data[eth:])
		sll2[i].Data = slices.Concat([]byte{8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0}, p.Data[eth:])
		sll[i].OrigLen, sll2[i].OrigLen = 0, 0
	}
	for _, c := range []struct {
		b    []pcap.Packet
		link pcap.LinkType
	}{{sll, pcap.LinuxSLL}, {sll2, pcap.LinuxSLL2}} {
		r, err := diff.Captures(list, c.b, pcap.Ethernet, c.link, diff.Options{})
		if err != nil || !r.Same() || r.Paired != len(list) {
			t.Errorf("%v: %q, %v, %d paired; want no differences", c.link, texts(r), err, r.Paired)
		}
	}
	in := slices.Clone(sll)
	in[0].Data = slices.Clone(in[0].Data)
	in[0].Data[1] = 0
	r, err := diff.Captures(sll, in, pcap.LinuxSLL, pcap.LinuxSLL, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, "packet 1 (SYN 10.244.1.3 -> 10.244.1.2:8080): link.data: byte 1 is 040001 here, byte 1 is 000001 there")
}

func TestSACKIsRelative(t *testing.T) {
	list := func(isn byte, edge byte) []pcap.Packet {
		head := macs + "0800 45 00 0034 0001 4000 40 06 26c2 0a000001 0a000002 9c40 0050 000000"
		syn := frame(t, strings.Replace(head, "0034", "0028", 1)+hex.EncodeToString([]byte{isn})+"00000000 5002 ffff 0000 0000")
		back := frame(t, macs+"0800 45 00 0034 0000 4000 40 06 26c2 0a000002 0a000001 0050 9c40 00000009 000000"+
			hex.EncodeToString([]byte{isn + 1})+"8010 ffff 0000 0000 01 01 05 0a 000000"+hex.EncodeToString([]byte{isn + 11})+"000000"+hex.EncodeToString([]byte{edge}))
		return []pcap.Packet{syn, back}
	}
	o := diff.Options{Ignore: []string{"ip.checksum", "tcp.checksum"}}
	want(t, compare(t, list(10, 41), list(60, 91), o))
	want(t, compare(t, list(10, 41), list(60, 92), o), "packet 2 (ACK 10.0.0.2:80 -> 10.0.0.1): tcp.options.sack: 11-31 here, 11-32 there")
}

// Comparing takes time in proportion to the capture.
func BenchmarkCaptures(b *testing.B) {
	one := load(b, tcpFile)
	var list []pcap.Packet
	for n := range 1000 {
		for _, p := range one {
			p.Data = slices.Clone(p.Data)
			at := l4
			if p.Data[eth+15] == 2 {
				at = l4 + 2
			}
			p.Data[at], p.Data[at+1] = byte(0x80+n>>8), byte(n)
			list = append(list, p)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := compare(b, list, list, diff.Options{}); !r.Same() {
			b.Fatal("a capture and itself differ")
		}
	}
	b.ReportMetric(float64(len(list))*float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}
