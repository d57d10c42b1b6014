package kube

import (
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"strings"
)

// NFTables returns the table of a node in kube-proxy's nftables mode (1.36),
// for nft -f: table ip kube-proxy. Own are the elements that only this node has,
// to be added afterwards: most nodes have the rest alike, so that it can be read
// once for all of them.
//
// In this mode node ports answer at the node's primary address alone unless
// NodePortAddresses says otherwise, and never on 127.0.0.0/8.
func (p *Proxy) NFTables(c *Cluster) (table, own string) {
	w := &nftWriter{Proxy: p, objects: c, zone: c.zone(p.cfg.NodeName), used: make(map[string]bool)}
	for _, e := range c.entries() {
		if !proxied(e.obj) {
			continue
		}
		ports := c.servicePorts(e)
		for i := range ports {
			w.servicePort(&ports[i])
		}
	}
	return w.text(), w.ownElements()
}

// nftWriter collects what the table consists of.
type nftWriter struct {
	*Proxy
	objects *Cluster
	zone    string

	clusterIPs                     []string
	firewallIPs, serviceIPs, noIPs []string // elements of maps
	serviceNodePorts, noNodePorts  []string
	hairpin                        []string
	affinity, chains               lines // sets and chains of Services
	used                           map[string]bool
}

const nftMasquerade = "mark set mark or 0x4000"

// nftBase are the chains at hooks, and the rule in each. Those before DNAT are
// for the addresses of load balancers, which are gone behind it; the others see
// what no Service has taken.
const nftBase = `
	chain filter-prerouting-pre-dnat {
		type filter hook prerouting priority -110
		ct state new jump firewall-check
	}
	chain filter-output-pre-dnat {
		type filter hook output priority -110
		ct state new jump firewall-check
	}
	chain filter-input {
		type filter hook input priority filter
		ct state new jump nodeport-endpoints-check
		ct state new jump service-endpoints-check
	}
	chain filter-forward {
		type filter hook forward priority filter
		ct state new jump service-endpoints-check
		ct state new jump cluster-ips-check
	}
	chain filter-output {
		type filter hook output priority filter
		ct state new jump service-endpoints-check
		ct state new jump cluster-ips-check
	}
	chain nat-prerouting {
		type nat hook prerouting priority dstnat
		jump services
	}
	chain nat-output {
		type nat hook output priority -100
		jump services
	}
	chain nat-postrouting {
		type nat hook postrouting priority srcnat
		jump masquerading
	}
	chain nodeport-endpoints-check {
		NODEPORT meta l4proto . th dport vmap @no-endpoint-nodeports
	}
	chain service-endpoints-check {
		ip daddr . meta l4proto . th dport vmap @no-endpoint-services
	}
	chain firewall-check {
		ip daddr . meta l4proto . th dport vmap @firewall-ips
	}
	chain services {
		MASQUERADE
		ip daddr . meta l4proto . th dport vmap @service-ips
		NODEPORT meta l4proto . th dport vmap @service-nodeports
	}
	chain masquerading {
		mark and 0x4000 != 0 mark set mark xor 0x4000 masquerade fully-random
		ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
	}
	chain cluster-ips-check {
		ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
		ip daddr { SERVICECIDR } drop comment "Drop traffic to unallocated ClusterIPs"
	}
	chain reject-chain {
		comment "helper for @no-endpoint-services / @no-endpoint-nodeports"
		reject
	}
`

// text is the table.
func (w *nftWriter) text() string {
	var b strings.Builder
	b.WriteString("table ip kube-proxy {\n\tcomment \"rules for kube-proxy\"\n")
	nftSet(&b, "set hairpin-connections", "ipv4_addr . ipv4_addr . inet_proto . inet_service", "service hairpin connections", nil)
	nftSet(&b, "set cluster-ips", "ipv4_addr", "Active ClusterIPs", w.clusterIPs)
	nodePort := "fib daddr type local ip daddr != 127.0.0.0/8"
	if !w.allNFTNodePorts() {
		nftSet(&b, "set nodeport-ips", "ipv4_addr", "IPs that accept NodePort traffic", nil)
		nodePort = "ip daddr @nodeport-ips"
	}
	const address, port = "ipv4_addr . inet_proto . inet_service : verdict", "inet_proto . inet_service : verdict"
	nftSet(&b, "map no-endpoint-services", address, "vmap to drop or reject packets to services with no endpoints", w.noIPs)
	nftSet(&b, "map no-endpoint-nodeports", port, "vmap to drop or reject packets to service nodeports with no endpoints", w.noNodePorts)
	nftSet(&b, "map firewall-ips", address, "destinations that are subject to LoadBalancerSourceRanges", w.firewallIPs)
	nftSet(&b, "map service-ips", address, "ClusterIP, ExternalIP and LoadBalancer IP traffic", w.serviceIPs)
	nftSet(&b, "map service-nodeports", port, "NodePort traffic", w.serviceNodePorts)
	b.Write(w.affinity)
	masquerade := ""
	const about = ` comment "masquerade clusterIP traffic from outside cluster"`
	switch {
	case w.cfg.MasqueradeAll:
		masquerade = "ip daddr @cluster-ips " + nftMasquerade
	case w.cfg.ClusterCIDR.IsValid():
		masquerade = "ip daddr @cluster-ips ip saddr != " + w.cfg.ClusterCIDR.String() + " " + nftMasquerade + about
	}
	b.WriteString(strings.NewReplacer("NODEPORT", nodePort, "MASQUERADE", masquerade,
		"SERVICECIDR", w.objects.cfg.ServiceCIDR.Masked().String()).Replace(nftBase))
	b.Write(w.chains)
	b.WriteString("}\n")
	return b.String()
}

func nftSet(b *strings.Builder, what, typ, comment string, elements []string) {
	b.WriteString("\t" + what + " {\n\t\ttype " + typ + "\n\t\tcomment \"" + comment + "\"\n")
	if len(elements) > 0 {
		b.WriteString("\t\telements = { " + strings.Join(elements, ",\n\t\t\t") + " }\n")
	}
	b.WriteString("\t}\n")
}

func (w *nftWriter) allNFTNodePorts() bool {
	return len(w.cfg.NodePortAddresses) > 0 && w.allNodePortAddresses()
}

// ownElements adds what is this node's alone.
func (w *nftWriter) ownElements() string {
	var b lines
	ips := w.nodePortIPs()
	if len(w.cfg.NodePortAddresses) == 0 && w.cfg.NodeIP.Is4() {
		ips = []netip.Addr{w.cfg.NodeIP}
	}
	for _, ip := range ips {
		if !ip.IsLoopback() && !w.allNFTNodePorts() {
			b.add("add element ip kube-proxy nodeport-ips {", ip.String(), "}")
		}
	}
	for _, e := range w.hairpin {
		b.add("add element ip kube-proxy hairpin-connections {", e, "}")
	}
	return string(b)
}

// nftName is the part of a chain's name that tells Services apart: a hash of
// the rest, and the rest.
func nftName(name string) string {
	const longest = 256 - 16
	sum := sha256.Sum256([]byte(name))
	name = base32.StdEncoding.EncodeToString(sum[:5]) + "-" + name
	if len(name) > longest {
		name = name[:longest-3] + "..."
	}
	return name
}

// chain begins a chain of a Service.
func (w *nftWriter) chain(name string, rules ...string) {
	w.chains.add("\tchain", name, "{")
	for _, r := range rules {
		if r != "" {
			w.chains.add("\t\t" + r)
		}
	}
	w.chains.add("\t}")
}
