package conntrack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func wantDecode(t *testing.T, what string, pkt []byte, want string) {
	t.Helper()
	if got := decode(pkt); got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestServiceAndMasquerade(t *testing.T) {
	// The node port flow of a two-node cluster: external client, node1:30002, pod on the other node, masqueraded.
	ext, node1, pod := netip.MustParseAddr("192.168.56.13"), netip.MustParseAddr("192.168.56.11"), backend
	tb := newTable(Config{})
	r := rules{dst: to(pod, 8080), src: Range{MinAddr: gateway, RandomFully: true}}
	syn := tcp(ext, 52462, node1, 30002, "S", 1, 0, "")
	c := wantPass(t, tb, 0, syn, r)
	port := c.Entry.Tuple(Reply).DstPort
	if port == 52462 || port < 1024 {
		t.Errorf("masqueraded port: got %d, want a random one from 1024", port)
	}
	if got, want := c.Entry.Status(), Confirmed|SrcNAT|DstNAT|SrcNATDone|DstNATDone; got != want {
		t.Errorf("status: got %b, want %b", got, want)
	}
	want := Tuple{Src: gateway, SrcPort: port, Dst: pod, DstPort: 8080, Proto: protoTCP}
	wantDecode(t, "SYN", syn, want.String())

	answer := tcp(pod, 8080, gateway, port, "SA", 1, 2, "")
	wantPass(t, tb, 0, answer, rules{})
	wantDecode(t, "SYN-ACK", answer, "src=192.168.56.11 dst=192.168.56.13 sport=30002 dport=52462")
	// Later packets of the flow keep the decision, whatever the nat table now says.
	ack := tcp(ext, 52462, node1, 30002, "A", 2, 2, "data")
	wantPass(t, tb, 0, ack, rules{dst: to(backend2, 9999)})
	wantDecode(t, "ACK", ack, want.String())

	wantLine := "ipv4     2 tcp      6 300 ESTABLISHED src=192.168.56.13 dst=192.168.56.11 sport=52462 dport=30002 " +
		"src=10.244.2.2 dst=10.244.1.0 sport=8080 dport=" + decPort(port) + " [ASSURED] mark=0 zone=0 use=2"
	if got := c.Entry.String(); got != wantLine {
		t.Errorf("entry:\ngot  %s\nwant %s", got, wantLine)
	}
}

func decPort(p uint16) string {
	s := Tuple{Proto: protoTCP, SrcPort: p, Src: client, Dst: client}.String()
	return s[len("src=10.244.1.3 dst=10.244.1.3 sport=") : len(s)-len(" dport=0")]
}

func TestPingThroughMasquerade(t *testing.T) {
	tb := newTable(Config{})
	var got [2]uint16
	for i, c := range []netip.Addr{client, client2} {
		pkt := ping(c, router, 7)
		wantPass(t, tb, 0, pkt, rules{src: to(gateway, 0)})
		got[i] = binary.BigEndian.Uint16(pkt[24:])
	}
	if got[0] != 7 || got[1] == 7 {
		t.Errorf("identifiers of two clients that both use 7: got %d and %d, want 7 and another", got[0], got[1])
	}
	reply := icmp(router, gateway, 0, 0, got[1], 1, []byte("abcdefgh"))
	wantPass(t, tb, 0, reply, rules{})
	wantDecode(t, "reply", reply, "src=192.168.56.1 dst=10.244.1.4 type=0 code=0 id=7")
}

func TestClosedBackendPortSeemsToBeTheService(t *testing.T) {
	for _, size := range []int{0, 28} {
		tb := newTable(Config{})
		query := udp(client, 4000, service, 53, "what is the address of example.com")
		wantPass(t, tb, 0, query, rules{dst: to(backend, 5353)})
		wantDecode(t, "query", query, "src=10.244.1.3 dst=10.244.2.2 sport=4000 dport=5353")
		unreachable := icmpError(backend, client, 3, 3, query, size)
		c := wantPass(t, tb, 0, unreachable, rules{})
		if c.State != StateRelated || c.Dir != Reply {
			t.Errorf("port unreachable: got %v %v, want RELATED reply", c.State, c.Dir)
		}
		wantDecode(t, "port unreachable", unreachable,
			"src=10.96.0.10 dst=10.244.1.3 about src=10.244.1.3 dst=10.96.0.10 sport=4000 dport=53")
		if c.Entry.Counter(Reply).Packets != 0 || c.Entry.Status()&SeenReply != 0 {
			t.Error("an ICMP error counted as an answer")
		}
	}
}

func TestTracerouteToServiceShowsTheService(t *testing.T) {
	tb := newTable(Config{})
	syn := tcp(client, 4000, service, 80, "S", 1, 0, "")
	wantPass(t, tb, 0, syn, rules{dst: to(backend, 8080)})
	// A router on the way quotes 28 bytes: ports and sequence number, no TCP checksum.
	exceeded := icmpError(router, client, 11, 0, syn, 28)
	wantPass(t, tb, 0, exceeded, rules{})
	wantDecode(t, "time exceeded", exceeded,
		"src=10.96.0.10 dst=10.244.1.3 about src=10.244.1.3 dst=10.96.0.10 sport=4000 dport=80")
}

func TestErrorsAcrossBothTranslations(t *testing.T) {
	setup := func(t *testing.T) (*Table, []byte, uint16) {
		tb := newTable(Config{})
		q := udp(client, 4000, service, 53, "query")
		c := wantPass(t, tb, 0, q, rules{dst: to(backend, 5353), src: Range{MinAddr: gateway, RandomFully: true}})
		return tb, q, c.Entry.Tuple(Reply).DstPort
	}
	t.Run("about the request", func(t *testing.T) {
		tb, q, _ := setup(t)
		e := icmpError(router, gateway, 3, 1, q, 0)
		wantPass(t, tb, 0, e, rules{})
		wantDecode(t, "host unreachable", e, "src=10.96.0.10 dst=10.244.1.3 about src=10.244.1.3 dst=10.96.0.10 sport=4000 dport=53")
	})
	t.Run("about the answer", func(t *testing.T) {
		tb, _, port := setup(t)
		a := udp(backend, 5353, gateway, port, "answer")
		wantPass(t, tb, 0, a, rules{})
		e := icmpError(client, service, 3, 3, a, 0)
		c := wantPass(t, tb, 0, e, rules{})
		if c.State != StateRelated || c.Dir != Original {
			t.Errorf("got %v %v, want RELATED original", c.State, c.Dir)
		}
		want := Tuple{Src: backend, SrcPort: 5353, Dst: gateway, DstPort: port, Proto: protoUDP}
		wantDecode(t, "port unreachable", e, "src=10.244.1.0 dst=10.244.2.2 about "+want.String())
	})
	t.Run("of a masqueraded ping", func(t *testing.T) {
		tb := newTable(Config{})
		p := ping(client, router, 7)
		wantPass(t, tb, 0, p, rules{src: Range{MinAddr: gateway, MinPort: 900, MaxPort: 910}})
		e := icmpError(router, gateway, 11, 0, p, 0)
		wantPass(t, tb, 0, e, rules{})
		wantDecode(t, "time exceeded", e, "src=192.168.56.1 dst=10.244.1.3 about src=10.244.1.3 dst=192.168.56.1 type=8 code=0 id=7")
	})
	t.Run("of SCTP", func(t *testing.T) {
		for _, size := range []int{28, 32, 34, 0} {
			tb := newTable(Config{})
			original := sctp(client, 4000, service, 80, "\x01\x00\x00\x00\x00\x07init tag and so on")
			p := bytes.Clone(original)
			wantPass(t, tb, 0, p, rules{dst: to(backend, 8080)})
			e := icmpError(backend, client, 3, 2, p, size)
			wantPass(t, tb, 0, e, rules{})
			quote := e[28:]
			if !bytes.Equal(quote[20:], original[20:len(quote)]) {
				t.Errorf("quote of %d bytes, after the IP header: got %x, want %x as sent", size, quote[20:], original[20:len(quote)])
			}
		}
	})
}

func TestErrorToTheWrongAddressIsInvalid(t *testing.T) {
	tb := newTable(Config{})
	q := udp(client, 4000, backend, 53, "query")
	wantPass(t, tb, 0, q, rules{})
	if c := tb.Track(0, icmpError(backend, client2, 3, 3, q, 0)); c.State != StateInvalid {
		t.Errorf("port unreachable to somebody else: got %v, want INVALID", c.State)
	}
	if c := tb.Track(0, icmpError(backend, client, 3, 3, q, 0)); c.State != StateRelated {
		t.Errorf("port unreachable to the sender: got %v, want RELATED", c.State)
	}
}

func TestRedirectsOfTranslatedFlowsAreDropped(t *testing.T) {
	for _, tt := range []struct {
		r    Range
		want bool
	}{{Range{}, true}, {to(backend, 8080), false}} {
		tb := newTable(Config{})
		q := udp(client, 4000, service, 53, "query")
		wantPass(t, tb, 0, q, rules{dst: tt.r})
		if _, ok := pass(t, tb, 0, icmpError(router, client, 5, 1, q, 0), rules{}); ok != tt.want {
			t.Errorf("redirect of a flow with DNAT %v: passed is %v, want %v", tt.r, ok, tt.want)
		}
	}
}

func TestRejectedPacketsAnswerIsTranslated(t *testing.T) {
	// REJECT in FORWARD answers a packet that was DNATed and will never be confirmed.
	tb := newTable(Config{})
	q := udp(client, 4000, service, 53, "query")
	c := tb.Track(0, q)
	if err := errors.Join(tb.Setup(c.Entry, Dst, to(backend, 5353)), tb.Translate(c, Dst, q)); err != nil {
		t.Fatal(err)
	}
	e := icmpError(gateway, client, 3, 3, q, 0)
	related := c.Related()
	for _, m := range []Manip{Dst, Src} {
		if related.NeedsNAT(m) {
			t.Errorf("the error asks the nat table about %v", m)
		}
		if err := tb.Translate(related, m, e); err != nil {
			t.Fatal(err)
		}
	}
	if !tb.Confirm(0, related) || tb.Len() != 0 {
		t.Errorf("Confirm: want true and no entry, got %d entries", tb.Len())
	}
	wantDecode(t, "port unreachable", e, "src=10.96.0.10 dst=10.244.1.3 about src=10.244.1.3 dst=10.96.0.10 sport=4000 dport=53")
	// The same with a TCP reset.
	syn := tcp(client, 4000, service, 80, "S", 1, 0, "")
	c = tb.Track(0, syn)
	if err := errors.Join(tb.Setup(c.Entry, Dst, to(backend, 8080)), tb.Translate(c, Dst, syn)); err != nil {
		t.Fatal(err)
	}
	rst := tcp(backend, 8080, client, 4000, "RA", 0, 2, "")
	if err := errors.Join(tb.Translate(c.Related(), Dst, rst), tb.Translate(c.Related(), Src, rst)); err != nil {
		t.Fatal(err)
	}
	wantDecode(t, "reset", rst, "src=10.96.0.10 dst=10.244.1.3 sport=80 dport=4000")
	if c.Related().Related() != (Conn{Entry: c.Entry, Dir: Original, State: StateRelated}) || (Conn{}).Related() != (Conn{}) {
		t.Error("Related does not turn the direction around")
	}
}

func TestUDPChecksumZero(t *testing.T) {
	tb := newTable(Config{})
	none := udp(client, 4000, service, 53, "query")
	none[26], none[27] = 0, 0
	wantPass(t, tb, 0, none, rules{dst: to(backend, 5353)})
	if none[26]|none[27] != 0 {
		t.Errorf("UDP without checksum: got %x, want 0", none[26:28])
	}
	// Of all source ports one makes the checksum of the translated packet zero; it must be sent as 0xffff.
	seen := false
	for port := range uint16(65535) {
		tb := newTable(Config{})
		pkt := []byte("\x45\x00\x00\x1c\x12\x34\x40\x00\x40\x11\x00\x00\x0a\xf4\x01\x03\x0a\x60\x00\x0a\x00\x00\x00\x35\x00\x08\x00\x00")
		binary.BigEndian.PutUint16(pkt[20:], port)
		binary.BigEndian.PutUint16(pkt[10:], ^onesSum(pkt[:20], 0))
		sum := ^onesSum(pkt[20:], uint32(onesSum(pkt[12:20], 0))+17+8)
		binary.BigEndian.PutUint16(pkt[26:], sum)
		if sum == 0 {
			continue
		}
		c := tb.Track(0, pkt)
		if err := errors.Join(tb.Setup(c.Entry, Dst, to(backend, 5353)), tb.Translate(c, Dst, pkt)); err != nil {
			t.Fatal(err)
		}
		if fault := checksumFault(pkt); fault != "" || pkt[26]|pkt[27] == 0 {
			t.Fatalf("source port %d: checksum %x is wrong", port, pkt[26:28])
		}
		seen = seen || pkt[26]&pkt[27] == 0xff
	}
	if !seen {
		t.Error("no packet had the checksum 0xffff, want one among 65535")
	}
}

func TestICMPChecksumOfNothingButZeros(t *testing.T) {
	tb := newTable(Config{})
	wantPass(t, tb, 0, icmp(client, router, 8, 0, 0, 0, nil), rules{src: Range{MinAddr: gateway, MinPort: 900, MaxPort: 910}})
	port := tb.Entries(0)[0].Tuple(Reply).SrcPort
	reply := icmp(router, gateway, 0, 0, port, 0, make([]byte, 16))
	wantPass(t, tb, 0, reply, rules{})
	if got := binary.BigEndian.Uint16(reply[22:]); got != 0xffff {
		t.Errorf("checksum of an all-zero echo reply: got %04x, want ffff", got)
	}
}

func TestCorruptPacketStaysCorrupt(t *testing.T) {
	for name, pkt := range map[string][]byte{
		"udp":  udp(client, 4000, service, 53, "query"),
		"tcp":  tcp(client, 4000, service, 53, "S", 1, 0, "query"),
		"sctp": sctp(client, 4000, service, 53, "\x01\x00\x00\x00\x00\x07init"),
	} {
		tb := newTable(Config{})
		pkt[len(pkt)-1] ^= 0x55
		if _, ok := pass(t, tb, 0, pkt, rules{dst: to(backend, 5353)}); !ok {
			t.Fatalf("%s: dropped", name)
		}
		if fault := checksumFault(pkt); fault == "" || fault == "IP header" {
			t.Errorf("%s: wrong checksum is %q, want the transport's", name, fault)
		}
	}
}

func TestTranslateRefusesAnotherPacket(t *testing.T) {
	tb := newTable(Config{})
	pkt := udp(client, 4000, service, 53, "query")
	c := wantPass(t, tb, 0, bytes.Clone(pkt), rules{dst: to(backend, 5353)})
	for name, other := range map[string][]byte{
		"nothing":      nil,
		"half":         pkt[:19],
		"cut":          patch(pkt[:24], 2, 0, 24),
		"another kind": tcp(client, 4000, service, 53, "S", 1, 0, ""),
	} {
		if err := tb.Translate(c, Dst, other); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
	c.State = StateRelated
	for name, other := range map[string][]byte{
		"not an error":       ping(client, backend, 1),
		"no quote":           icmp(client, service, 3, 3, 0, 0, nil),
		"quote cut at ports": icmpError(client, service, 3, 3, pkt, 24),
		"another quote":      icmpError(client, service, 3, 3, ping(service, client, 1), 0),
	} {
		if err := tb.Translate(c, Dst, other); !errors.Is(err, ErrMalformed) {
			t.Errorf("related, %s: got %v, want ErrMalformed", name, err)
		}
	}
}

// Property: whatever is translated, gopacket computes the same checksums from scratch, nothing but addresses, ports and
// checksums changes, and the answer comes back to where the request was sent from.
func TestChecksumsAgreeWithGopacket(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	addr := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	tb := newTable(Config{})
	for range 5000 {
		src, dst := addr(), addr()
		data := make([]byte, rng.IntN(50))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		sport, dport := uint16(rng.Uint32()), uint16(rng.Uint32())
		var pkt, answer []byte
		kind := rng.IntN(3)
		switch kind {
		case 0:
			pkt = udp(src, sport, dst, dport, string(data))
		case 1:
			pkt = tcp(src, sport, dst, dport, "S", rng.Uint32(), 0, string(data))
		case 2:
			pkt = icmp(src, dst, 8, 0, sport, dport, data)
		}
		sent := bytes.Clone(pkt)
		r := rules{dst: to(addr(), uint16(rng.IntN(3))), src: Range{MinAddr: addr(), RandomFully: rng.IntN(2) == 0}}
		c, ok := pass(t, tb, 0, pkt, r)
		if !ok {
			continue // a clash of random tuples
		}
		wantSameAsRebuilt(t, pkt)
		tu := c.Entry.Tuple(Reply)
		switch kind {
		case 0:
			answer = udp(tu.Src, tu.SrcPort, tu.Dst, tu.DstPort, string(data))
		case 1:
			answer = tcp(tu.Src, tu.SrcPort, tu.Dst, tu.DstPort, "SA", 5, binary.BigEndian.Uint32(pkt[24:])+1+uint32(len(data)), "")
		case 2:
			answer = icmp(tu.Src, tu.Dst, 0, 0, tu.SrcPort, dport, data)
		}
		size := 28 + rng.IntN(len(pkt)-27)
		if kind == 1 && size == 37 {
			size++ // half a TCP checksum cannot be updated
		}
		related := icmpError(router, tu.Dst, 11, 0, pkt, size)
		wantPass(t, tb, 0, related, rules{})
		if quote := related[28:]; !bytes.Equal(quote, sent[:len(quote)]) {
			t.Fatalf("quoted datagram:\ngot  %x\nwant %x as it was sent", quote, sent[:len(quote)])
		}
		wantPass(t, tb, 0, answer, rules{})
		wantSameAsRebuilt(t, answer)
		if got, want := tb.mustTuple(t, answer), c.Entry.Tuple(Original); got.Src != want.Dst || got.Dst != want.Src {
			t.Fatalf("answer: got %v, want the inverse of %v", got, want)
		}
	}
}

func (t *Table) mustTuple(tb testing.TB, pkt []byte) Tuple {
	tb.Helper()
	var p packet
	if p.parse(pkt) != parseOK {
		tb.Fatalf("%x does not parse", pkt)
	}
	return p.key.tuple()
}

// wantSameAsRebuilt has gopacket decode pkt and serialize it again with checksums of its own.
func wantSameAsRebuilt(t *testing.T, pkt []byte) {
	t.Helper()
	p := gopacket.NewPacket(pkt, layers.LayerTypeIPv4, gopacket.Default)
	ip := p.NetworkLayer().(*layers.IPv4)
	var rest []gopacket.SerializableLayer
	for _, l := range p.Layers()[1:] {
		switch l := l.(type) {
		case *layers.TCP:
			l.SetNetworkLayerForChecksum(ip)
			rest = append(rest, l, gopacket.Payload(l.Payload))
		case *layers.UDP:
			l.SetNetworkLayerForChecksum(ip)
			rest = append(rest, l, gopacket.Payload(l.Payload))
		case *layers.ICMPv4:
			rest = append(rest, l, gopacket.Payload(l.Payload))
		}
		if len(rest) > 0 {
			break
		}
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{ComputeChecksums: true, FixLengths: true}
	if err := gopacket.SerializeLayers(buf, opts, append([]gopacket.SerializableLayer{ip}, rest...)...); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), pkt) {
		t.Fatalf("translated packet:\ngot     %x\ngopacket %x", pkt, buf.Bytes())
	}
}
