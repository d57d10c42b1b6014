// Package diff compares two captures of the same scenario and says in words
// what differs.
//
//	a, err := pcap.ReadFile("kernel.pcap")
//	b, err := pcap.ReadFile("podwire.pcapng")
//	report, err := diff.Captures(a.Packets, b.On("node1/cni0"), pcap.Ethernet, pcap.Ethernet, diff.Options{})
//	for _, d := range report.Differences {
//		fmt.Println(d.Text) // packet 3 (SYN-ACK 10.244.1.2:8080 -> 10.244.1.3): ip.ttl: 64 here, 63 there
//	}
//
// Packets are put into flows, flows of one capture are paired with flows of the
// other, and so are the packets of two flows. Then every field of two packets
// is compared, but what no two runs have in common is compared by rule:
//
//   - MAC addresses and link-local IPv6 addresses: one to one
//   - the client's port, ICMP identifiers: by flow
//   - IP identification: zero or not; one more than the flow's packet before,
//     or, but in TCP, up to one more for each millisecond that has passed, as
//     Linux numbers what belongs to no socket
//   - TCP sequence numbers: relative to the first of their direction
//   - TCP timestamps: zero or not, forward or not, an echo of a value seen or not
//   - the time of sending that ping writes into echo requests: there or not
//   - outer source ports of VXLAN: the same as the flow's packet before or not
//   - order: within a flow; segments that crossed, neither acknowledging the
//     other, may come either way
//   - checksums: right, partial (left to the network card), absent or wrong
//   - time: not at all, unless a tolerance is given
//
// The package decodes Ethernet with VLAN tags, Linux cooked captures, ARP,
// IPv4, IPv6, TCP, UDP, ICMP with the packet that an error quotes, IP in IP,
// and VXLAN on ports 4789 and 8472. The rest is compared as bytes. Input of any
// kind is welcome: what is too short is compared as far as it goes.
//
// Captures keeps no state and is safe for concurrent use.
package diff
