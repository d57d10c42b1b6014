package conntrack

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// FuzzPackets sends a sequence of arbitrary packets through all hooks of a host that translates everything. Each packet is
// preceded by its length, two bytes. Nothing may panic, no packet may change its length, no header length or protocol may
// change, and the table must stay consistent.
func FuzzPackets(f *testing.F) {
	seq := func(pkts ...[]byte) (out []byte) {
		for _, p := range pkts {
			out = binary.BigEndian.AppendUint16(out, uint16(len(p)))
			out = append(out, p...)
		}
		return out
	}
	q := udp(client, 4000, service, 53, "query")
	syn := tcp(client, 4000, service, 80, "S", 1, 0, "")
	f.Add(seq(q, udp(backend, 8080, gateway, 4000, "answer"), icmpError(backend, client, 3, 3, q, 28)))
	f.Add(seq(syn, tcp(backend, 8080, gateway, 4000, "SA", 1, 2, ""), tcp(client, 4000, service, 80, "A", 2, 2, "x")))
	f.Add(seq(ping(client, service, 7), icmp(backend, gateway, 0, 0, 7, 1, nil)))
	f.Add(seq(sctp(client, 1, service, 2, "\x01\x00\x00\x00\x00\x07init"), sctp(backend, 8080, gateway, 1, "\x02\x00\x00\x00\x00\x07ack")))
	f.Add(seq(raw(client, service, 47, "\x00\x00\x08\x00"), raw(client, service, 89, "hello")))
	f.Add(seq(q[:10], patch(q, 0, 0x4f), patch(syn, 32, 0xf0), patch(q, 6, 0x20, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		tb := newTable(Config{Max: 4})
		r := rules{dst: to(backend, 8080), src: to(gateway, 0)}
		for now := time.Duration(0); len(data) >= 2; now += sec {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			pkt := bytes.Clone(data[2 : 2+n])
			data = data[2+n:]
			before := bytes.Clone(pkt)
			c, _ := pass(t, tb, now, pkt, r)
			if len(pkt) >= 20 && (pkt[0] != before[0] || !bytes.Equal(pkt[2:10], before[2:10])) {
				t.Fatalf("%x became %x: more than addresses and checksum of the IP header changed", before, pkt)
			}
			if c.Entry == nil && !bytes.Equal(pkt, before) {
				t.Fatalf("%x of no flow became %x", before, pkt)
			}
			checkTable(t, tb)
		}
	})
}

// checkTable verifies that hash table, heap and source lists hold the same entries.
func checkTable(t *testing.T, tb *Table) {
	t.Helper()
	nodes := 0
	for b, n := range tb.hash.buckets {
		for ; n != nil; n = n.next {
			nodes++
			if tb.hash.bucket(tb.hash.hash(&n.key)) != uint64(b) || n.entry.node[n.dir].key != n.key {
				t.Fatalf("%v is in the wrong bucket", n.entry)
			}
			if s := n.entry.status; s&Confirmed == 0 || s&Dying != 0 {
				t.Fatalf("%v is in the table with status %b", n.entry, s)
			}
		}
	}
	if nodes != 2*tb.Len() || len(tb.expiry) != tb.Len() || tb.Len() > tb.Max() {
		t.Fatalf("got %d nodes, %d queued, %d entries of %d, want them to agree", nodes, len(tb.expiry), tb.Len(), tb.Max())
	}
	for i, item := range tb.expiry {
		if item.e.heapIndex != i || item.at != item.e.queued || item.at > item.e.deadline || i > 0 && tb.expiry.less(i, (i-1)/4) {
			t.Fatalf("heap is wrong at %d", i)
		}
	}
}

// FuzzThereAndBack translates a packet and then translates what comes out as if it went the other way: a mutated packet that
// is translated at all must come back byte for byte, checksums right or wrong as they were.
func FuzzThereAndBack(f *testing.F) {
	for _, pkt := range [][]byte{
		udp(client, 4000, service, 53, "query"), tcp(client, 4000, service, 80, "S", 1, 0, ""), ping(client, service, 7),
		icmp(client, service, 8, 0, 0, 0, nil), sctp(client, 1, service, 2, "\x01\x00\x00\x00\x00\x07init"), raw(client, service, 89, "hello"),
		udp(client, 100, service, 53, ""), tcp(client, 600, service, 80, "A", 1, 2, "data"),
	} {
		f.Add(pkt, uint16(8080), []byte{})
		f.Add(pkt, uint16(0), []byte{25, 0xff, 27, 1})
	}
	f.Fuzz(func(t *testing.T, pkt []byte, port uint16, mutations []byte) {
		pkt = bytes.Clone(pkt)
		for ; len(mutations) >= 2 && len(pkt) > 0; mutations = mutations[2:] {
			pkt[int(mutations[0])%len(pkt)] ^= mutations[1]
		}
		tb := newTable(Config{})
		sent := bytes.Clone(pkt)
		c, ok := pass(t, tb, 0, pkt, rules{dst: to(backend, port), src: Range{MinAddr: gateway, RandomFully: true}})
		if !ok || c.Entry == nil {
			return
		}
		if len(pkt) != len(sent) {
			t.Fatalf("%x became %x: length changed", sent, pkt)
		}
		wantFault := checksumFaultSafe(sent)
		if fault := checksumFaultSafe(pkt); fault != wantFault {
			t.Fatalf("%x became %x: wrong checksum is %q, was %q", sent, pkt, fault, wantFault)
		}
		// Undo it by hand: the tuple of the other direction, inverted, is what the packet was.
		back := Conn{Entry: c.Entry, Dir: Original, State: StateEstablished}
		was := back.Entry.node[Original].key
		hlen, total, _ := splitIPv4(pkt, false)
		for _, m := range []Manip{Src, Dst} {
			if back.Translates(m) {
				if _, err := rewrite(pkt[:total], hlen, total, m, &was); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !sameButZero(pkt, sent, hlen) {
			t.Fatalf("there and back:\nsent %x\ngot  %x", sent, pkt)
		}
	})
}

// checksumFaultSafe is checksumFault for packets that Track accepted, which may be padded.
func checksumFaultSafe(pkt []byte) string {
	return checksumFault(pkt[:binary.BigEndian.Uint16(pkt[2:])])
}

// sameButZero compares packets, taking the checksums 0 and 0xffff for equal: they are the same number in ones' complement,
// and only one of them is ever computed.
func sameButZero(a, b []byte, hlen int) bool {
	a, b = bytes.Clone(a), bytes.Clone(b)
	at := map[byte]int{protoTCP: 16, protoUDP: 6, protoICMP: 2}
	for _, p := range [][]byte{a, b} {
		sums := []int{10}
		if off, ok := at[p[9]]; ok {
			sums = append(sums, hlen+off)
		}
		for _, off := range sums {
			if off+1 < len(p) && p[off]&p[off+1] == 0xff {
				p[off], p[off+1] = 0, 0
			}
		}
	}
	return bytes.Equal(a, b)
}
