// Package stack is one Linux-like host: network devices, ARP, a forwarding
// plane with netfilter and connection tracking, and sockets.
//
//	h := stack.NewHost(drv, stack.Config{Name: "node1", Forward: true})
//	eth0 := h.AddEthernet("eth0", mac, 1500, port)
//	eth0.AddAddr(netip.MustParsePrefix("192.168.56.11/24"))
//	ln, err := h.Listen("tcp", ":80")
//
// gVisor's netstack terminates TCP and UDP. Everything between a socket and
// the wire is done here, in the order in which Linux does it:
//
//	device -> (bridge, br_netfilter) -> PREROUTING: conntrack, DNAT -> route
//	       -> INPUT -> socket
//	       -> FORWARD, TTL already decremented -> POSTROUTING: SNAT -> neighbour -> device
//	socket -> OUTPUT: conntrack, DNAT -> route -> POSTROUTING ...
//
// What gVisor's TCP sends is made what Linux' would send: identifications and DF,
// windows, segments that fill the MTU, acknowledgements that wait for company and, in
// virtual time, congestion avoidance.
//
// Sockets are used from ordinary goroutines. Everything else runs under the
// driver's lock: set a host up inside [link.Driver.Do], or before traffic flows.
package stack
