package kube

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
)

var (
	errIPAllocated       = errors.New("provided IP is already allocated")
	errMismatchedNetwork = errors.New("the provided network does not match the current range")
	errPortAllocated     = errors.New("provided port is already allocated")
	errRangeFull         = errors.New("range is full")
)

// ipAllocator hands out cluster IPs as Kubernetes does: at random from the
// upper band of the range, and from the lower band, which users are asked to
// take explicit addresses from, only when the upper is exhausted (KEP-3070).
type ipAllocator struct {
	prefix netip.Prefix
	first  netip.Addr // lowest usable address
	size   uint64     // usable addresses
	static uint64     // size of the lower band
	used   map[netip.Addr]bool
	dns    netip.Addr // kubeadm's address for kube-dns: never chosen, may be asked for
	rand   *rand.Rand
}

// maxServiceBits caps the part of a range that is used, 2^20 addresses in
// Kubernetes, so that a /64 needs no 64-bit arithmetic on addresses.
const maxServiceBits = 20

func newIPAllocator(prefix netip.Prefix, r *rand.Rand) (*ipAllocator, error) {
	prefix = prefix.Masked()
	bits := prefix.Addr().BitLen() - prefix.Bits()
	if bits < 2 {
		return nil, fmt.Errorf("kube: service range: %s has no usable address, want /%d or shorter", prefix, prefix.Addr().BitLen()-2)
	}
	a := &ipAllocator{prefix: prefix, first: prefix.Addr().Next(), used: make(map[netip.Addr]bool), rand: r}
	total := uint64(1) << min(bits, maxServiceBits)
	a.size = total - 2 // neither the network nor the broadcast address
	if total > 16 {
		a.static = min(max(16, total/16), 256)
	}
	a.dns = addOffset(a.first, 9)
	a.used[a.first] = true // default/kubernetes
	return a, nil
}

// addOffset returns the address n after a.
func addOffset(a netip.Addr, n uint64) netip.Addr {
	b := a.As16()
	for i := 15; i >= 0 && n > 0; i-- {
		n += uint64(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	sum := netip.AddrFrom16(b)
	if a.Is4() {
		return sum.Unmap()
	}
	return sum
}

// take reserves the address a user asked for. The API server's own Service may
// have the first address; anybody else is told that it is taken.
func (a *ipAllocator) take(ip netip.Addr, apiServer bool) error {
	if !a.prefix.Contains(ip) {
		return errMismatchedNetwork
	}
	if last := addOffset(a.first, a.size-1); ip.Less(a.first) || last.Less(ip) {
		return fmt.Errorf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip, a.prefix)
	}
	if a.used[ip] && !(apiServer && ip == a.first) {
		return errIPAllocated
	}
	a.used[ip] = true
	return nil
}

// next reserves a free address of the allocator's choice.
func (a *ipAllocator) next() (netip.Addr, error) {
	if ip, ok := a.scan(a.static, a.size); ok {
		return ip, nil
	}
	if ip, ok := a.scan(0, a.static); ok {
		return ip, nil
	}
	return netip.Addr{}, errRangeFull
}

// scan looks for a free address in [from, to), counted from the first one,
// starting somewhere in the middle.
func (a *ipAllocator) scan(from, to uint64) (netip.Addr, bool) {
	if from >= to {
		return netip.Addr{}, false
	}
	n := to - from
	start := a.rand.Uint64N(n)
	for i := range n {
		ip := addOffset(a.first, from+(start+i)%n)
		if !a.used[ip] && ip != a.dns {
			a.used[ip] = true
			return ip, true
		}
	}
	return netip.Addr{}, false
}

func (a *ipAllocator) release(ip netip.Addr) {
	if ip != a.first { // stays with default/kubernetes
		delete(a.used, ip)
	}
}

// portAllocator hands out node ports the same way: above the static band first
// (KEP-3682), then within it. A number is taken for all protocols together.
type portAllocator struct {
	ports  PortRange
	static int
	used   map[int32]bool
	rand   *rand.Rand
}

func newPortAllocator(ports PortRange, r *rand.Rand) *portAllocator {
	a := &portAllocator{ports: ports, used: make(map[int32]bool), rand: r}
	if size := ports.size(); size > 16 {
		a.static = min(max(16, size/32), 128)
	}
	return a
}

// take reserves the port a user asked for.
func (a *portAllocator) take(port int32) error {
	if !a.ports.Contains(port) {
		return fmt.Errorf("provided port is not in the valid range. The range of valid ports is %s", a.ports)
	}
	if a.used[port] {
		return errPortAllocated
	}
	a.used[port] = true
	return nil
}

// next reserves a free port of the allocator's choice.
func (a *portAllocator) next() (int32, error) {
	if p, ok := a.scan(a.static, a.ports.size()); ok {
		return p, nil
	}
	if p, ok := a.scan(0, a.static); ok {
		return p, nil
	}
	return 0, errRangeFull
}

func (a *portAllocator) scan(from, to int) (int32, bool) {
	if from >= to {
		return 0, false
	}
	n := to - from
	start := a.rand.IntN(n)
	for i := range n {
		p := int32(int(a.ports.First) + from + (start+i)%n)
		if !a.used[p] {
			a.used[p] = true
			return p, true
		}
	}
	return 0, false
}

func (a *portAllocator) release(port int32) { delete(a.used, port) }
