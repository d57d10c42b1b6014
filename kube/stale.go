package kube

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// UDPFrontend is an address of a UDP Service and the endpoints a flow to it may
// be tied to.
type UDPFrontend struct {
	// Addr and Port are the original destination of the flow. Addr is zero for
	// a node port, which is recognised by its number at any address.
	Addr netip.Addr
	Port uint16
	// Serving are the addresses of the endpoints that serve, terminating ones
	// included, in ascending order. There is at least one.
	Serving []netip.Addr
}

// UDPFrontends returns what kube-proxy compares the UDP entries of the
// connection table with after endpoints have changed. UDP has no handshake, so
// an entry to an endpoint that is gone would catch all further packets of a
// client that keeps its source port. TCP entries are left to TCP.
//
// Traffic policies are not looked at: changing one must not break flows. A
// Service without serving endpoints is left out, its entries age by themselves.
func (c *Cluster) UDPFrontends() []UDPFrontend {
	var list []UDPFrontend
	for _, e := range c.entries() {
		if !proxied(e.obj) {
			continue
		}
		ports := c.servicePorts(e)
		for i := range ports {
			if ports[i].spec.Protocol == corev1.ProtocolUDP {
				list = ports[i].appendFrontends(list)
			}
		}
	}
	return list
}

func (p *servicePort) appendFrontends(list []UDPFrontend) []UDPFrontend {
	var serving []netip.Addr
	for i := range p.endpoints {
		if p.endpoints[i].Serving {
			serving = append(serving, p.endpoints[i].Addr.Addr())
		}
	}
	if len(serving) == 0 {
		return list
	}
	slices.SortFunc(serving, netip.Addr.Compare)
	serving = slices.Compact(serving)
	for _, ips := range [][]string{{p.svc.Spec.ClusterIP}, p.vips, p.externalIPs} {
		for _, ip := range ips {
			if a, err := netip.ParseAddr(ip); err == nil {
				list = append(list, UDPFrontend{a, uint16(p.spec.Port), serving})
			}
		}
	}
	if p.spec.NodePort != 0 {
		list = append(list, UDPFrontend{Port: uint16(p.spec.NodePort), Serving: serving})
	}
	return list
}

// StaleUDP reports whether kube-proxy deletes a UDP entry: its original
// destination is one of the frontends and its replies come from an address that
// is not one of that frontend's serving endpoints. It looks at every frontend;
// a caller with a large table should index them by port.
func StaleUDP(frontends []UDPFrontend, originalDst netip.AddrPort, replySrc netip.Addr) bool {
	for _, f := range frontends {
		if f.Stale(originalDst, replySrc) {
			return true
		}
	}
	return false
}

// Stale is StaleUDP for one frontend.
func (f UDPFrontend) Stale(originalDst netip.AddrPort, replySrc netip.Addr) bool {
	if f.Port != originalDst.Port() || f.Addr.IsValid() && f.Addr != originalDst.Addr() {
		return false
	}
	_, serving := slices.BinarySearchFunc(f.Serving, replySrc, netip.Addr.Compare)
	return !serving
}
