package overlay

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/netfilter"
)

// listenIP returns the address that a process listens on for the port.
func (p HostPort) listenIP() netip.Addr {
	if !p.HostIP.IsValid() {
		return netip.IPv4Unspecified()
	}
	return p.HostIP
}

// String returns the node's side of the port as docker writes it:
// 0.0.0.0:8080/tcp.
func (p HostPort) String() string {
	return fmt.Sprintf("%s:%d/%s", p.listenIP(), p.HostPort, p.Proto)
}

// Clashes reports whether two ports of one node cannot both be had.
func (p HostPort) Clashes(o HostPort) bool {
	return p.Proto == o.Proto && p.HostPort == o.HostPort && (p.HostIP == o.HostIP || !p.HostIP.IsValid() || !o.HostIP.IsValid())
}

// check returns what is wrong with a port on a host, or nil.
func (p HostPort) check(h *stack.Host) error {
	switch {
	case p.Proto != "tcp" && p.Proto != "udp":
		return fmt.Errorf("host port %v: protocol %q, want tcp or udp", p, p.Proto)
	case p.HostPort == 0 || p.PodPort == 0:
		return fmt.Errorf("host port %v to port %d: want ports from 1 to 65535", p, p.PodPort)
	case p.HostIP.IsValid() && !p.HostIP.Is4():
		return fmt.Errorf("host port %v: want an IPv4 address", p)
	case p.HostIP.IsValid() && h.AddrType(p.HostIP, "") != netfilter.TypeLocal:
		return fmt.Errorf("host port %v: %s has no address %v: cannot assign requested address", p, h.Name(), p.HostIP)
	}
	return nil
}
