// Package wireguard speaks the WireGuard protocol in the way the Linux kernel
// does, on a driver's clock: real handshakes, real ciphertext, the kernel's
// timers. It has no goroutine, socket or clock of its own and makes every random
// choice with the source it is given, so that a run can be repeated to the byte.
//
//	d, err := wireguard.New(wireguard.Config{Driver: drv, PrivateKey: key, Rand: rng, MTU: 1420, Send: send, Deliver: deliver})
//	err = d.AddPeer(wireguard.PeerConfig{PublicKey: theirs, Endpoint: addrPort, AllowedIPs: prefixes})
//	d.Transmit(frame) // an IP packet; starts a handshake if there is no session
//
// Two ends that begin while the other's initiation is on its way lose both
// handshakes, for a peer has room for one, and try again after RekeyTimeout and
// up to a third of a second of jitter. The kernel does the same; only, two
// machines seldom begin within a path's latency, and two flows of an emulation
// that begin at the same time always do.
//
// It is for emulation. Keys that come from a seed are not secret, and nothing is
// done against somebody who measures time.
//
// The protocol is that of "WireGuard: Next Generation Kernel Network Tunnel"
// (Donenfeld, NDSS 2017, revised 2020), cited below as the paper; what it leaves
// open follows drivers/net/wireguard of Linux 6.1.
package wireguard
