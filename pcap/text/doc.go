// Package text prints packets as tcpdump does, one line each, and chooses them
// by an expression in tcpdump's language.
//
//	p := text.Printer{}
//	keep, err := text.ParseFilter("icmp or host 10.244.2.2 and tcp port 80", nil)
//	for _, pkt := range capture.Packets {
//		if keep.Match(pcap.Ethernet, pkt.Data) {
//			fmt.Println(p.Packet(pcap.Ethernet, pkt.Data, len(pkt.Data)))
//		}
//	}
//
// The text is that of tcpdump 4.99 for Ethernet, ARP, IPv4, ICMP, TCP, UDP, DNS,
// IP in IP, VXLAN, Geneve and GRE, checked against tcpdump itself. IPv6 is printed
// without what -v adds. UDP ports 4789 and 8472 are VXLAN, as on Kubernetes' nodes;
// tcpdump takes 8472 for OTV unless -T vxlan is given. Packets are not trusted:
// what is cut short ends in [|proto].
package text
