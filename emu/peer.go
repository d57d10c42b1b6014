package emu

import (
	"net"
	"net/netip"
	"time"
)

// A Peer is what the answering side of an exchange saw: whom it took the
// question to come from, after all translation.
type Peer struct {
	Machine string         // who answered: "default/web"
	Network string         // tcp, udp or icmp
	Addr    netip.AddrPort // who seemed to ask; port 0 for icmp
	At      time.Duration  // when, on the lab's clock
}

// LastPeer returns what was seen last by a built-in workload (tcp, udp) or by
// any machine that answered a ping (icmp). Sockets that were opened by hand are
// not watched.
func (l *Lab) LastPeer(network string) (Peer, bool) {
	var p Peer
	var ok bool
	l.drv.Do(func() { p, ok = l.peers[network] })
	return p, ok
}

// sawPeer notes who asked. The caller does not hold the lock.
func (m *Machine) sawPeer(network string, from net.Addr) {
	a, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return
	}
	m.lab.drv.Do(func() { m.notePeer(network, a) })
}

// notePeer is sawPeer for a caller that holds the lock.
func (m *Machine) notePeer(network string, from netip.AddrPort) {
	m.lab.peers[network] = Peer{Machine: m.name, Network: network, Addr: from, At: m.lab.drv.Now()}
}

// watchedListener notes who connects.
type watchedListener struct {
	net.Listener
	m *Machine
}

// Accept implements net.Listener.
func (w watchedListener) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		w.m.sawPeer("tcp", c.RemoteAddr())
	}
	return c, err
}
