// Package bgp is a BGP-4 speaker (RFC 4271) of the kind that Calico runs on every
// node, which is BIRD 1.6: IPv4 unicast, four-octet AS numbers (RFC 6793), graceful
// restart (RFC 4724), additional paths (RFC 7911), route refresh (RFC 2918, 7313)
// and route reflection (RFC 4456).
//
//	s, err := bgp.New(bgp.Config{Driver: drv, Rand: rng, AS: 64512, RouterID: addr, Dial: dial, Best: install})
//	p, err := s.AddPeer(bgp.PeerConfig{Name: "Mesh_192_168_56_12", Addr: other, AS: 64512})
//	s.Announce(block)
//
// A speaker has no sockets: Config.Dial and [Speaker.Accept] bring connections,
// [Session.Receive] what comes in on them. It has no goroutines and no clock but the
// driver's, and no random numbers but those it is given, so that in virtual time
// the same seed gives the same bytes.
//
// That is why it is written here. The servers that exist in Go (GoBGP's,
// corebgp) own their sockets, and wait in goroutines for timers of the runtime,
// of which those that fire at the same instant do so in no order. GoBGP's codec
// (pkg/packet/bgp), which depends on nothing, is used for all messages.
//
// Where the RFCs leave a choice the speaker does what BIRD does, and where it
// differs from them too: timers are shortened by up to a quarter in whole seconds,
// a failed connection is tried again after the connect delay, an error delays the
// next attempt by the error wait time, which doubles.
package bgp
