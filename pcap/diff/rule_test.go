package diff_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/diff"
)

// anotherRun changes everything that another run of the same connection would:
// addresses of cards, the client's port, and where all counters begin.
func anotherRun(list []pcap.Packet) {
	be := binary.BigEndian
	for i := range list {
		d := list[i].Data
		fromClient := d[eth+15] == 3 // 10.244.1.3
		d[5] ^= 0x55
		d[11] ^= 0x55
		isn, peerISN, ts, peerTS := uint32(1000), uint32(0xfffffff0), uint32(50), uint32(77)
		port := l4
		if !fromClient {
			isn, peerISN, ts, peerTS, port = peerISN, isn, peerTS, ts, l4+2
		}
		be.PutUint16(d[port:], 40000)
		if id := be.Uint16(d[eth+4:]); id != 0 {
			be.PutUint16(d[eth+4:], id+0x100)
		}
		be.PutUint32(d[l4+4:], be.Uint32(d[l4+4:])+isn)
		if d[l4+13]&0x10 != 0 {
			be.PutUint32(d[l4+8:], be.Uint32(d[l4+8:])+peerISN)
		}
		at := l4 + 24 // after two NOPs
		if d[l4+13]&2 != 0 {
			at = l4 + 28
		}
		be.PutUint32(d[at:], be.Uint32(d[at:])+ts)
		if be.Uint32(d[at+4:]) != 0 {
			be.PutUint32(d[at+4:], be.Uint32(d[at+4:])+peerTS)
		}
		list[i].Time = list[i].Time.Add(time.Hour + time.Duration(i)*time.Second)
		mendIP(d)
	}
}

// What differs between any two runs is no difference, but in strict mode.
func TestAnotherRun(t *testing.T) {
	a, b := load(t, tcpFile), load(t, tcpFile)
	anotherRun(b)
	want(t, compare(t, a, b, diff.Options{}))
	fields := map[string]bool{}
	for _, d := range compare(t, a, b, diff.Options{Strict: true}).Differences {
		fields[d.Field] = true
	}
	for _, f := range []string{"eth.src", "eth.dst", "tcp.srcport", "tcp.dstport", "ip.id", "ip.checksum", "tcp.seq", "tcp.ack", "tcp.options.tsval", "tcp.options.tsecr"} {
		if !fields[f] {
			t.Errorf("strict mode finds no difference in %s, want one", f)
		}
		delete(fields, f)
	}
	for f := range fields {
		t.Errorf("strict mode finds a difference in %s, want none", f)
	}
}

// Addresses map one to one: two cards that become one are told.
func TestMACsMapOneToOne(t *testing.T) {
	a, b := load(t, tcpFile), load(t, tcpFile)
	for i := range b {
		copy(b[i].Data[:6], b[i].Data[6:12])
	}
	r := compare(t, a, b, diff.Options{})
	if len(r.Differences) != len(a) {
		t.Errorf("%d differences %q, want one for each of %d packets", len(r.Differences), texts(r), len(a))
	}
}

func TestMissingExtraOrder(t *testing.T) {
	a := load(t, tcpFile)
	without := slices.Delete(load(t, tcpFile), 6, 7)
	want(t, compare(t, a, without, diff.Options{}),
		"packet 7 (ACK 10.244.1.3 -> 10.244.1.2:8080): only here")
	want(t, compare(t, without, a, diff.Options{}),
		"packet 7 there (ACK 10.244.1.3 -> 10.244.1.2:8080): only there")
	want(t, compare(t, a, without, diff.Options{Ignore: []string{"packet"}}))
	swapped := load(t, tcpFile)
	swapped[5], swapped[6] = swapped[6], swapped[5]
	want(t, compare(t, a, swapped, diff.Options{}),
		"packet 6, 7 there (PSH-ACK 10.244.1.2:8080 -> 10.244.1.3): order: number 6 of its flow here, 7 there")
	want(t, compare(t, a, swapped, diff.Options{Ignore: []string{"order"}}))
	want(t, compare(t, a, nil, diff.Options{Ignore: []string{"packet"}}))
	if n := len(compare(t, nil, a, diff.Options{}).Differences); n != len(a) {
		t.Errorf("nothing against %d packets: %d differences", len(a), n)
	}
}

// The two FINs of this connection have crossed, and so have their
// acknowledgements: what comes first is chance, but not in strict mode.
func TestOrderOfWhatCrossed(t *testing.T) {
	a, b := load(t, tcpFile), load(t, tcpFile)
	b[7], b[8] = b[8], b[7]
	b[9], b[10] = b[10], b[9]
	want(t, compare(t, a, b, diff.Options{}))
	n := 0
	for _, d := range compare(t, a, b, diff.Options{Strict: true}).Differences {
		if d.Kind == diff.KindOrder {
			n++
		}
	}
	if n != 2 {
		t.Errorf("strict mode tells of %d packets out of order, want 2", n)
	}
	// An acknowledgement before what it acknowledges, or two segments of one
	// direction, have not crossed.
	for _, swap := range [][2]int{{8, 9}, {3, 4}, {2, 3}} {
		b := load(t, tcpFile)
		b[swap[0]], b[swap[1]] = b[swap[1]], b[swap[0]]
		found := false
		for _, d := range compare(t, a, b, diff.Options{}).Differences {
			found = found || d.Kind == diff.KindOrder
		}
		if !found {
			t.Errorf("packets %d and %d changed places: no difference of order", swap[0]+1, swap[1]+1)
		}
	}
}

// A server at another port or address is a difference in fields, not eleven
// missing and eleven extra packets.
func TestOtherServerIsAField(t *testing.T) {
	a := load(t, tcpFile)
	port, addr := load(t, tcpFile), load(t, tcpFile)
	for i := range port {
		toServer := port[i].Data[eth+15] == 3
		at, ip := l4, eth+12
		if toServer {
			at, ip = l4+2, eth+16
		}
		binary.BigEndian.PutUint16(port[i].Data[at:], 8081)
		addr[i].Data[ip+3] = 9
		mendIP(addr[i].Data)
	}
	for field, b := range map[string][]pcap.Packet{"tcp.dstport: 8080 here, 8081 there": port, "ip.dst: 10.244.1.2 here, 10.244.1.9 there": addr} {
		r := compare(t, a, b, diff.Options{Ignore: []string{"tcp.checksum"}})
		if len(r.Differences) != len(a) || !strings.HasSuffix(r.Differences[0].Text, field) {
			t.Errorf("differences are %q, want %q in each packet", texts(r), field)
		}
	}
}

// Of three connections one is missing in the middle: the others are still
// compared with their own.
func TestFlowMissingInTheMiddle(t *testing.T) {
	var a, b []pcap.Packet
	for n := range 3 {
		flow := load(t, tcpFile)
		for i := range flow {
			at := l4
			if flow[i].Data[eth+15] == 2 {
				at = l4 + 2
			}
			binary.BigEndian.PutUint16(flow[i].Data[at:], uint16(50000+n))
		}
		flow = flow[:len(flow)-n*2] // so they can be told apart
		a = append(a, flow...)
		if n != 1 {
			b = append(b, flow...)
		}
	}
	r := compare(t, a, b, diff.Options{})
	for _, d := range r.Differences {
		if d.Kind != diff.KindMissing || d.PacketA < 11 || d.PacketA >= 20 {
			t.Errorf("difference %q, want only the second connection missing", d.Text)
		}
	}
	if len(r.Differences) != 9 {
		t.Errorf("%d differences, want 9", len(r.Differences))
	}
}

func TestFieldVXLAN(t *testing.T) {
	const (
		first = "packet 1 (echo request 10.244.1.2 -> 10.244.2.2 in VXLAN 192.168.56.11 -> 192.168.56.12): "
		vx    = l4 + 8
		inner = vx + 8
	)
	for _, c := range []struct {
		name string
		at   int
		b    []byte
		want []string
	}{
		{"outer ttl", eth + 8, []byte{63}, []string{first + "outer.ip.ttl: 64 here, 63 there"}},
		{"outer tos", eth + 1, []byte{2}, []string{first + "outer.ip.tos: 0x00 here, 0x02 there"}},
		{"outer df", eth + 6, []byte{0x40}, []string{first + "outer.ip.df: clear here, set there"}},
		{"outer id", eth + 4, []byte{0, 0}, []string{first + "outer.ip.id: 0x628a (not 0) here, 0x0000 there"}},
		{"outer checksum absent", l4 + 6, []byte{0, 0}, []string{first + "outer.udp.checksum: partial (left to the network card) here, absent there"}},
		{"source port", l4, []byte{0xea, 0x60}, nil},
		{"flags", vx, []byte{0}, []string{first + "outer.vxlan.flags: 0x08 here, 0x00 there"}},
		{"vni", vx + 6, []byte{2}, []string{first + "outer.vxlan.vni: 1 here, 2 there"}},
		{"reserved", vx + 7, []byte{1}, []string{first + "outer.vxlan.reserved: 0x00000000 here, 0x00000001 there"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := load(t, vxlanFile), load(t, vxlanFile)
			set(b, 1, c.at, c.b...)
			o := diff.Options{}
			if !strings.Contains(c.name, "checksum") {
				o.Ignore = []string{"outer.udp.checksum"}
			}
			want(t, compare(t, a, b, o), c.want...)
		})
	}
	a, b := load(t, vxlanFile), load(t, vxlanFile)
	b[0].Data[inner+14+8] = 62
	want(t, compare(t, a, b, diff.Options{Ignore: []string{"udp.checksum"}}),
		first+"ip.ttl: 63 here, 62 there", first+"ip.checksum: right here, wrong there")
}

// The outer source port is the flow's: one that changes on the way is told.
func TestOuterPortOfAFlow(t *testing.T) {
	a := append(load(t, vxlanFile)[:2], load(t, vxlanFile)[:2]...)
	b := append(load(t, vxlanFile)[:2], load(t, vxlanFile)[:2]...)
	b[2].Data[l4+1]++
	r := compare(t, a, b, diff.Options{Ignore: []string{"udp.checksum", "packet"}})
	want(t, r, "packet 3 (echo request 10.244.1.2 -> 10.244.2.2 in VXLAN 192.168.56.11 -> 192.168.56.12): "+
		"outer.udp.srcport: 55313 (the same as before) here, 55314 (one more than before) there")
}

func TestFieldICMP(t *testing.T) {
	const (
		refusal = "packet 2 (port unreachable 10.244.1.1 -> 10.244.1.3): "
		quoted  = l4 + 8
		udpData = "packet 3 (UDP 10.244.1.3 -> 10.96.0.200:53): "
	)
	for _, c := range []struct {
		name  string
		n, at int
		b     []byte
		want  []string
	}{
		{"code", 2, l4 + 1, []byte{1}, []string{"packet 2 (port unreachable 10.244.1.1 -> 10.244.1.3): icmp.code: 3 here, 1 there"}},
		{"tos", 2, eth + 1, []byte{0}, []string{refusal + "ip.tos: 0xc0 here, 0x00 there"}},
		{"rest", 2, l4 + 7, []byte{1}, []string{refusal + "icmp.rest: 0x00000000 here, 0x00000001 there"}},
		{"quoted ttl", 2, quoted + 8, []byte{64}, []string{refusal + "quoted.ip.ttl: 63 here, 64 there"}},
		{"quoted id", 2, quoted + 4, []byte{9, 9}, []string{refusal + "quoted.ip.id: 0x31c3 (that of a packet seen before) here, 0x0909 (that of no packet seen before) there"}},
		{"quoted port", 2, quoted + 20 + 3, []byte{81}, []string{
			refusal + "quoted.tcp.dstport: 80 here, 81 there",
			refusal + "quoted.tcp.seq: 0 here, of a flow not captured there",
			refusal + "quoted.tcp.ack: none here, of a flow not captured there",
		}},
		{"quoted seq", 2, quoted + 20 + 7, []byte{0}, []string{refusal + "quoted.tcp.seq: 0 here, 4294967235 there"}},
		{"quoted df", 4, quoted + 6, []byte{0}, []string{"packet 4 (port unreachable 10.244.1.1 -> 10.244.1.3): quoted.ip.df: set here, clear there"}},
		{"udp payload", 3, l4 + 8, []byte{'y'}, []string{udpData + "udp.payload: byte 0 is 7878787878 here, byte 0 is 7978787878 there"}},
		{"udp length", 3, l4 + 5, []byte{12}, []string{udpData + "udp.len: 13 here, 12 there"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := load(t, icmpFile), load(t, icmpFile)
			set(b, c.n, c.at, c.b...)
			want(t, compare(t, a, b, diff.Options{Ignore: []string{"icmp.checksum", "quoted.ip.checksum", "udp.checksum"}}), c.want...)
		})
	}
	a, b := load(t, icmpFile), load(t, icmpFile)
	b[1].Data[l4+2] ^= 1
	want(t, compare(t, a, b, diff.Options{}), refusal+"icmp.checksum: right here, wrong there")
}

func TestTiming(t *testing.T) {
	a, b := load(t, tcpFile), load(t, tcpFile)
	for i := range b {
		b[i].Time = b[i].Time.Add(time.Hour)
	}
	b[3].Time = b[3].Time.Add(time.Millisecond)
	want(t, compare(t, a, b, diff.Options{}))
	want(t, compare(t, a, b, diff.Options{Timing: time.Millisecond}))
	want(t, compare(t, a, b, diff.Options{Timing: time.Millisecond - 1}),
		"packet 4 (PSH-ACK 10.244.1.3 -> 10.244.1.2:8080): time: 153µs here, 1.153ms there")
}

func TestOffloadPartialChecksum(t *testing.T) {
	a, b := load(t, tcpFile), load(t, tcpFile)
	for i := range b {
		mendTCP(&b[i])
	}
	if n := len(compare(t, a, b, diff.Options{}).Differences); n != len(a) {
		t.Errorf("%d differences, want one checksum for each of %d packets", n, len(a))
	}
	want(t, compare(t, a, b, diff.Options{Offload: true}))
	b[0].Data[l4+17] ^= 1
	want(t, compare(t, a, b, diff.Options{Offload: true}), "packet 1 (SYN 10.244.1.3 -> 10.244.1.2:8080): tcp.checksum: right here, wrong there")
}

// A super-frame is what the card makes of it: segments of the MSS.
func TestOffloadSegments(t *testing.T) {
	const size = 1410 - 12
	grow := func(p pcap.Packet, from, n int) pcap.Packet { // 3000 bytes of the stream of the client
		head := slices.Clone(p.Data[:l4+32])
		for i := range n {
			head = append(head, byte((from+i)*7))
		}
		be := binary.BigEndian
		be.PutUint16(head[eth+2:], uint16(len(head)-eth))
		be.PutUint16(head[eth+4:], be.Uint16(head[eth+4:])+uint16(from/size))
		be.PutUint32(head[l4+4:], be.Uint32(head[l4+4:])+uint32(from))
		if from+n < 3000 {
			head[l4+13] &^= 8
		}
		p.Data, p.OrigLen = head, 0
		mendIP(head)
		mendTCP(&p)
		return p
	}
	base := load(t, tcpFile)
	a := append(slices.Clone(base[:3]), grow(base[3], 0, 3000))
	b := append(slices.Clone(base[:3]), grow(base[3], 0, size), grow(base[3], size, size), grow(base[3], 2*size, 3000-2*size))
	want(t, compare(t, a, b, diff.Options{Offload: true}))
	want(t, compare(t, b, a, diff.Options{Offload: true}))
	if compare(t, a, b, diff.Options{}).Same() {
		t.Error("a super-frame and its segments are the same without Offload, want differences")
	}
	b[4].Data[l4+40] ^= 1
	mendTCP(&b[4])
	r := compare(t, a, b, diff.Options{Offload: true})
	if len(r.Differences) != 1 || !strings.HasPrefix(r.Differences[0].Text, "packet 4 part 2, 5 there (ACK 10.244.1.3 -> 10.244.1.2:8080): tcp.payload: byte 8 is ") {
		t.Errorf("differences %q, want the payload of part 2", texts(r))
	}
}

func TestIgnore(t *testing.T) {
	a, b := load(t, tcpFile), load(t, tcpFile)
	set(b, 1, l4+22, 0x05, 0xb4)
	set(b, 2, eth+8, 63)
	for _, c := range []struct {
		ignore string
		want   []string
	}{
		{"tcp.options.mss", []string{"ip.ttl"}},
		{"tcp.options", []string{"ip.ttl"}},
		{"tcp", []string{"ip.ttl"}},
		{"tcp.opt", nil},
		{"outer.ip.ttl", []string{"tcp.options.mss", "ip.ttl"}},
		{"ip", []string{"tcp.options.mss"}},
	} {
		r, err := diff.Captures(a, b, pcap.Ethernet, pcap.Ethernet, diff.Options{Ignore: []string{c.ignore}})
		if c.want == nil {
			if err == nil || !strings.HasPrefix(err.Error(), `diff: ignore: field "tcp.opt" is not known, want one of packet, order, `) {
				t.Errorf("ignore %q: error %v, want one with all names", c.ignore, err)
			}
			continue
		}
		var got []string
		for _, d := range r.Differences {
			got = append(got, d.Field)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("ignore %q: fields %v, error %v, want %v", c.ignore, got, err, c.want)
		}
	}
}

func TestWrongOptions(t *testing.T) {
	one := load(t, tcpFile)[:1]
	for _, c := range []struct {
		link pcap.LinkType
		o    diff.Options
		want string
	}{
		{pcap.LinkType(105), diff.Options{}, "diff: link type linktype-105 cannot be decoded, want ethernet, raw, null, linux_sll or linux_sll2"},
		{pcap.Ethernet, diff.Options{Timing: -1}, "diff: timing tolerance -1ns, want 0 or more"},
		{pcap.Ethernet, diff.Options{NumbersA: []int{}}, "diff: 0 numbers for 1 packets of the first capture"},
		{pcap.Ethernet, diff.Options{NumbersB: []int{1, 2}}, "diff: 2 numbers for 1 packets of the second capture"},
	} {
		if _, err := diff.Captures(one, one, c.link, pcap.Ethernet, c.o); err == nil || err.Error() != c.want {
			t.Errorf("%+v: error %v, want %s", c.o, err, c.want)
		}
	}
}

// A raw IP capture can be compared with an Ethernet one, from IP up.
func TestLinkTypesDiffer(t *testing.T) {
	a, b := load(t, tcpFile), load(t, tcpFile)
	for i := range b {
		b[i].Data, b[i].OrigLen = b[i].Data[eth:], 0
	}
	set := func(o diff.Options) diff.Report {
		r, err := diff.Captures(a, b, pcap.Ethernet, pcap.Raw, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	want(t, set(diff.Options{}))
	b[0].Data[1] = 4
	want(t, set(diff.Options{Ignore: []string{"ip.checksum"}}), "packet 1 (SYN 10.244.1.3 -> 10.244.1.2:8080): ip.tos: 0x00 here, 0x04 there")
}

func TestNumbers(t *testing.T) {
	a, b := load(t, tcpFile)[:2], load(t, tcpFile)[:2]
	set(b, 2, eth+8, 63)
	r := compare(t, a, b, diff.Options{NumbersA: []int{4, 9}, NumbersB: []int{5, 12}})
	want(t, r, "packet 9, 12 there (SYN-ACK 10.244.1.2:8080 -> 10.244.1.3): ip.ttl: 64 here, 63 there")
	if d := r.Differences[0]; d.PacketA != 1 || d.PacketB != 1 || d.A != "64" || d.B != "63" || d.Field != "ip.ttl" || d.Kind != diff.KindField {
		t.Errorf("difference %+v, want ip.ttl of packets 1 and 1", d)
	}
}
