package diff_test

import (
	"fmt"
	"log"

	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/diff"
)

// A router on the way leaves its mark: one hop less, and new MACs, which map.
func ExampleCaptures() {
	a, err := pcap.ReadFile("testdata/svc-same-p1a-eth0.pcap")
	if err != nil {
		log.Fatal(err)
	}
	b, err := pcap.ReadFile("testdata/svc-same-p1a-eth0.pcap")
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range b.Packets {
		p.Data[5]++     // destination MAC
		p.Data[11]++    // source MAC
		p.Data[14+8]--  // TTL
		p.Data[14+10]++ // and its checksum
	}
	b.Packets = b.Packets[:2]
	r, err := diff.Captures(a.Packets[:3], b.Packets, pcap.Ethernet, pcap.Ethernet, diff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range r.Differences {
		fmt.Println(d.Text)
	}
	// Output:
	// packet 1 (SYN 10.244.1.3 -> 10.244.1.2:8080): ip.ttl: 64 here, 63 there
	// packet 2 (SYN-ACK 10.244.1.2:8080 -> 10.244.1.3): ip.ttl: 64 here, 63 there
	// packet 3 (ACK 10.244.1.3 -> 10.244.1.2:8080): only here
}
