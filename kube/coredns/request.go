package coredns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// request is a name within the cluster's zone taken apart:
//
//	SERVICE.NAMESPACE.svc
//	ENDPOINT.SERVICE.NAMESPACE.svc
//	_PORT._PROTOCOL.SERVICE.NAMESPACE.svc
//	A-B-C-D.NAMESPACE.pod
//
// Labels that are missing from the left are empty: the name exists, and has no
// records.
type request struct {
	kind      string // "svc", "pod", "" for the zone itself
	namespace string
	service   string // or the pod's address
	endpoint  string
	port      string
	protocol  string
}

// parse takes a name apart, lower-case as it compares. It reports whether the
// name is of one of these forms.
func (s *Server) parse(name string) (r request, ok bool) {
	name = dns.CanonicalName(name)
	labels := dns.SplitDomainName(strings.TrimSuffix(name, s.cfg.Zone))
	pop := func() string {
		if len(labels) == 0 {
			return ""
		}
		last := labels[len(labels)-1]
		labels = labels[:len(labels)-1]
		return last
	}
	r.kind = pop()
	if r.kind != "" && r.kind != "svc" && r.kind != "pod" {
		return r, false
	}
	r.namespace, r.service = pop(), pop()
	switch len(labels) {
	case 0:
	case 1:
		r.endpoint = labels[0]
	case 2:
		r.port, r.protocol = strings.TrimPrefix(labels[0], "_"), strings.TrimPrefix(labels[1], "_")
	default:
		return r, false
	}
	return r, true
}

// dashed reads an address written with dashes, as in the names of pods: three
// dashes for IPv4, or the colons of an IPv6 address.
func dashed(label string) (netip.Addr, bool) {
	text := strings.ReplaceAll(label, "-", ":")
	if strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
		text = strings.ReplaceAll(label, "-", ".")
	}
	a, err := netip.ParseAddr(text)
	return a, err == nil && a.Zone() == ""
}

// withDashes is the name an endpoint without a hostname has.
func withDashes(a netip.Addr) string {
	if a.Is4() {
		return strings.ReplaceAll(a.String(), ".", "-")
	}
	return strings.ReplaceAll(a.String(), ":", "-")
}

// reversed reads the address of a name in in-addr.arpa or ip6.arpa (RFC 1035
// §3.5, RFC 3596 §2.5).
func reversed(name string) (netip.Addr, bool) {
	name = dns.CanonicalName(name)
	if digits, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		labels := strings.Split(digits, ".")
		if len(labels) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
		return a, err == nil
	}
	digits, ok := strings.CutSuffix(name, ".ip6.arpa.")
	labels := strings.Split(digits, ".")
	if !ok || len(labels) != 32 {
		return netip.Addr{}, false
	}
	var b strings.Builder
	for i := 31; i >= 0; i-- {
		if len(labels[i]) != 1 {
			return netip.Addr{}, false
		}
		b.WriteString(labels[i])
		if i%4 == 0 && i > 0 {
			b.WriteByte(':')
		}
	}
	a, err := netip.ParseAddr(b.String())
	return a, err == nil
}
