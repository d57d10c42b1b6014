package overlay

import (
	"fmt"
	"testing"
)

var ecnNames = [...]string{"Not-ECT", "ECT(1)", "ECT(0)", "CE"}

// TestECNEncapsulation is RFC 6040 §4.1 in the form that Linux has: the DSCP
// of the tunnel is 0, and a congestion mark becomes ECT(0).
func TestECNEncapsulation(t *testing.T) {
	for inner, want := range map[byte]byte{0x00: 0, 0xb9: 1, 0x02: 2, 0x03: 2, 0xff: 2, 0xfc: 0} {
		equal(t, fmt.Sprintf("outer TOS for inner %#02x", inner), outerTOS(inner), want)
	}
}

// TestECNDecapsulation is the table of RFC 6040 §4.2 (Figure 4).
func TestECNDecapsulation(t *testing.T) {
	const drop = 9
	table := [4][4]int{ // by inner, then outer: Not-ECT, ECT(1), ECT(0), CE
		0: {0, 0, 0, drop},
		1: {1, 1, 1, 3},
		2: {2, 1, 2, 3},
		3: {3, 3, 3, 3},
	}
	for in := range table {
		for out, want := range table[in] {
			for dscp := 0; dscp < 256; dscp += 4 {
				name := fmt.Sprintf("inner %s, outer %s, DSCP %d", ecnNames[in], ecnNames[out], dscp/4)
				b := inner("10.244.1.2:1", "10.244.2.2:2", byte(dscp|in), 3)
				if ok := decapsulateECN(innerIPv4(b), byte(out|0xb8)); !ok {
					equal(t, name+": dropped", drop, want)
					continue
				}
				equal(t, name, int(b[15]), dscp|want)
				equal(t, name+": checksum", onesSum(b[14:34], 0), 0xffff)
			}
		}
	}
}

// TestECNOfOtherProtocols: what is no IP packet carries no mark and loses none.
func TestECNOfOtherProtocols(t *testing.T) {
	arp := append(unhex("ffffffffffff 2e1122334401 0806"), make([]byte, 28)...)
	before := string(arp)
	if !decapsulateECN(innerIPv4(arp), 3) || string(arp) != before {
		t.Errorf("ARP with an outer congestion mark: dropped or changed to %x", arp)
	}
	equal(t, "outer TOS of ARP", outerTOS(innerTOS(arp)), 0)
	equal(t, "outer TOS of a runt", outerTOS(innerTOS(arp[:3])), 0)
}
