package stack

import (
	"strings"
	"testing"

	"github.com/podwire/podwire/stack/nftables"
)

var nftTool = ruleTool{
	load: "nft -f -", save: "nft list ruleset",
	apply: (*network).nft,
	saved: func(r *Host) string { return r.NFTables().List(r.now()) },
	lines: func(saved string) []string { return strings.Split(saved, "\n") },
}

// nft loads a text into a host.
func (n *network) nft(h *Host, text string) {
	n.Helper()
	s, err := nftables.Parse(text)
	n.try(err)
	n.do(func() {
		n.try(h.NFTables().Apply(s, n.drv.Now()))
		h.RulesChanged()
	})
}

// kubeNFT is kube-proxy's table in miniature, with counters.
const kubeNFT = `table ip kube-proxy {
	set hairpin-connections {
		type ipv4_addr . ipv4_addr . inet_proto . inet_service
		elements = { 10.0.1.2 . 10.0.1.2 . udp . 5000 }
	}
	set cluster-ips {
		type ipv4_addr
		elements = { 10.0.2.100, 10.0.2.101 }
	}
	set nodeport-ips {
		type ipv4_addr
		elements = { 10.0.1.1 }
	}
	map no-endpoint-services {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.0.2.101 . tcp . 80 comment "default/empty" : goto reject-chain, 10.0.2.101 . udp . 80 : drop }
	}
	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.0.2.100 . tcp . 80 : goto service-web, 10.0.2.100 . udp . 53 : goto service-dns,
			10.0.2.100 . udp . 54 : goto service-self }
	}
	map service-nodeports {
		type inet_proto . inet_service : verdict
		elements = { udp . 30053 : goto external-dns }
	}
	chain pre {
		type filter hook prerouting priority -110
		ip daddr 10.98.0.0/16 counter drop
		ct state new counter
	}
	chain forward {
		type filter hook forward priority 0
		ct state new jump checks
		ct state established,related counter
		ct direction reply counter
	}
	chain input {
		type filter hook input priority 0
		ct state new jump checks
	}
	chain checks {
		ip daddr . meta l4proto . th dport vmap @no-endpoint-services
		ip daddr @cluster-ips counter reject comment "ports that nobody has"
		ip daddr { 10.0.2.96/27 } counter drop
	}
	chain reject-chain {
		counter
		reject
	}
	chain nat-prerouting {
		type nat hook prerouting priority -100
		counter
		jump services
	}
	chain services {
		ip daddr @cluster-ips ip saddr != 10.0.1.0/30 counter mark set mark or 0x4000
		ip daddr . meta l4proto . th dport vmap @service-ips
		ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
		counter
	}
	chain service-web {
		meta l4proto tcp dnat ip to numgen inc mod 2 map { 0 : 10.0.2.2 . 8080, 1 : 10.0.2.2 . 8081 }
	}
	chain service-dns {
		meta l4proto udp dnat to 10.0.2.2:5353
	}
	chain service-self {
		meta l4proto udp dnat to 10.0.1.2:5000
	}
	chain external-dns {
		mark set mark or 0x4000
		goto service-dns
	}
	chain nat-postrouting {
		type nat hook postrouting priority srcnat
		mark and 0x4000 != 0 counter mark set mark xor 0x4000 snat to 10.0.2.1
		ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections counter masquerade
	}
}
`

// TestNFTLikeKernel loads the same nft text into a kernel's namespace and into a
// host, sends the same packets through both, and compares what comes out and
// what nft list ruleset shows, with counters.
func TestNFTLikeKernel(t *testing.T) {
	syn := func(src, dst string) []byte { return tcpPacket(src, dst, tcpSYN, 100, 0, nil) }
	udp := func(src, dst string) []byte { return udpPacket(src, dst, []byte("hello")) }
	echo := func(dst string) []byte { return echoPacket(between("10.0.1.2", dst, 0), 1, 8) }
	tests := []struct {
		name, rules string
		packets     []injection
	}{
		{"kube-proxy", kubeNFT, append(append(fromLeft(syn(lHost, "10.0.2.100:80"), syn("10.0.1.2:1001", "10.0.2.100:80"), syn("10.0.1.2:1002", "10.0.2.100:80"), udp(lHost, "10.0.2.100:53"),
			udp("10.0.1.9:7", "10.0.2.100:53"), udp(lHost, "10.0.1.1:30053"), udp(lHost, "10.0.2.1:30053")),
			fromRight(tcpPacket("10.0.2.2:8080", lHost, tcpSYN|tcpACK, 500, 101, nil), udp("10.0.2.2:5353", lHost), portUnreachable("10.0.2.2", udp(lHost, "10.0.2.2:5353")),
				udp("10.0.2.2:5353", "10.0.2.1:7"))...),
			fromLeft(syn("10.0.1.2:1", "10.0.2.101:80"), udp("10.0.1.3:1", "10.0.2.101:80"), udp(lHost, "10.0.2.101:81"), echo("10.0.2.100"), echo("10.0.2.110"),
				udp(lHost, "10.98.0.1:1"), udp(lHost, rHost), udp(lHost, "10.0.2.100:54"))...)},
		{"matches", `table ip t {
	chain f {
		type filter hook forward priority 0
		ip saddr 10.0.1.0/24 counter
		ip saddr != 10.0.1.0/24 counter
		ip saddr 10.0.1.1-10.0.1.2 counter
		ip protocol udp counter
		ip ttl < 63 counter
		ip ttl >= 63 counter
		ip daddr { 10.0.2.1, 10.0.2.2, 10.0.3.0/24 } counter
		tcp dport { 80, 443, 8000-8100 } counter
		tcp dport != 80 counter
		udp sport 1000 counter
		th dport 2000 counter
		meta l4proto { tcp, udp } th dport > 100 counter
		icmp type echo-request counter
		icmp type { echo-reply, destination-unreachable } counter
		iifname "eth0" oifname "eth1" counter
		iifname != "eth0" counter
		ip saddr . tcp dport { 10.0.1.2 . 80, 10.0.1.2 . 81 } counter
		ip saddr . ip daddr vmap { 10.0.1.2 . 10.0.2.2 : continue, 10.0.1.3 . 10.0.2.2 : drop }
		ct state vmap { new : jump a, established : accept }
		fib saddr type local counter
		fib daddr type unicast counter
		meta mark set 0x10 meta mark 0x10 counter
		ct mark set 0x7
		ct mark 0x7 counter
		meta mark and 0x10 == 0x10 counter
		tcp dport 22 reject with tcp reset
		udp dport 9 reject with icmp host-unreachable
		udp dport 10 reject
		udp dport 11 return
		udp dport 12 goto b
		meta length 33 counter
		counter drop
	}
	chain a {
		udp dport 13 return
		counter
	}
	chain b {
		counter
	}
}
`, append(fromLeft(udp(lHost, rHost), udp("10.0.1.3:1000", rHost), syn(lHost, "10.0.2.2:80"), syn(lHost, "10.0.2.2:8050"), syn(lHost, "10.0.2.2:22"),
			udp(lHost, "10.0.2.2:9"), udp(lHost, "10.0.2.2:10"), udp(lHost, "10.0.2.2:11"), udp(lHost, "10.0.2.2:12"), udp(lHost, "10.0.2.2:13"),
			withTTL(udp(lHost, rHost), 9), echo("10.0.2.2"), ipPacket(between("10.0.1.2", "10.0.2.2", 47), make([]byte, 8))),
			fromRight(udp(rHost, lHost), echoPacket(between("10.0.2.2", "10.0.1.2", 0), 1, 8))...)},
		{"priorities, policies and tables", `table ip first {
	chain late { type filter hook forward priority 10
		counter
	}
	chain early { type filter hook forward priority -10; policy drop
		udp dport 6 accept
		udp dport 1 counter accept
		udp dport 2 counter accept
	}
}
table inet second {
	chain middle { type filter hook forward priority 0
		udp dport 2 counter drop
		counter
	}
	chain raw { type filter hook prerouting priority raw
		udp dport 3 notrack
	}
	chain nat { type nat hook prerouting priority -90
		udp dport 4 dnat ip to 10.0.2.2:6
	}
	chain nat2 { type nat hook prerouting priority -110
		udp dport 5 redirect to :7
		udp dport 4 counter
	}
	chain in { type filter hook input priority 0
		counter drop
	}
}
`, append(fromLeft(udp(lHost, "10.0.2.2:1"), udp(lHost, "10.0.2.2:2"), udp(lHost, "10.0.2.2:3"), udp(lHost, "9.9.9.9:4"), udp(lHost, "9.9.9.9:5")),
			fromRight(udp("10.0.2.2:1", lHost))...)},
		{"dynamic sets", `table ip t {
	set seen {
		type ipv4_addr
		flags dynamic
		size 2
	}
	set pairs {
		type ipv4_addr . inet_service
		flags dynamic
	}
	chain f { type filter hook forward priority 0
		ip saddr @seen counter
		ip saddr != @seen counter
		add @seen { ip saddr } counter
		update @pairs { ip daddr . th dport } counter
		numgen inc mod 3 offset 5 vmap { 5 : accept, 6 : drop }
		counter
	}
}
`, fromLeft(udp(lHost, rHost), udp("10.0.1.3:1", rHost), udp("10.0.1.4:1", rHost), udp(lHost, rHost), syn(lHost, rHost), udp("10.0.1.3:1", "10.0.2.2:7"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantLikeKernel(t, nftTool, tt.rules, tt.packets...) })
	}
}
