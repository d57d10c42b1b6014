package conntrack_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/podwire/podwire/stack/conntrack"
)

// A datagram to a service is sent to a backend instead, and the flow is in the table.
func Example() {
	query := []byte("\x45\x00\x00\x1c\x00\x00\x40\x00\x40\x11\x00\x00" + // IPv4, 28 bytes, UDP
		"\x0a\xf4\x01\x03" + "\x0a\x60\x00\x0a" + // 10.244.1.3 to 10.96.0.10
		"\x9c\x40\x00\x35\x00\x08\x00\x00") // port 40000 to 53, no data, no checksum

	t := conntrack.New(conntrack.Config{}, rand.New(rand.NewPCG(1, 2)))
	c := t.Track(0, query)
	backend := conntrack.Range{MinAddr: netip.MustParseAddr("10.244.2.2"), MinPort: 5353}
	if err := t.Setup(c.Entry, conntrack.Dst, backend); err != nil {
		fmt.Println(err)
	}
	if err := t.Translate(c, conntrack.Dst, query); err != nil {
		fmt.Println(err)
	}
	fmt.Println(c.State, t.Confirm(0, c))
	fmt.Println(netip.AddrFrom4([4]byte(query[16:20])))
	fmt.Println(t.Entries(0)[0])
	// Output:
	// NEW true
	// 10.244.2.2
	// ipv4     2 udp      17 30 src=10.244.1.3 dst=10.96.0.10 sport=40000 dport=53 [UNREPLIED] src=10.244.2.2 dst=10.244.1.3 sport=5353 dport=40000 mark=0 zone=0 use=2
}
