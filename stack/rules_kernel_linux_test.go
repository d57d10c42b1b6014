package stack

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func fromLeft(pkts ...[]byte) (list []injection) {
	for _, p := range pkts {
		list = append(list, injection{0, p})
	}
	return list
}

func fromRight(pkts ...[]byte) (list []injection) {
	for _, p := range pkts {
		list = append(list, injection{1, p})
	}
	return list
}

// synWith is a SYN with options.
func synWith(src, dst string, options ...byte) []byte {
	p := tcpPacket(src, dst, tcpSYN, 100, 0, options)
	p[ipv4MinHeader+12] = byte(5+len(options)/4) << 4
	sumTransport(p)
	return p
}

func withTOS(p []byte, tos byte) []byte {
	ipv4(p).setTOS(tos)
	return p
}

func withTTL(p []byte, ttl byte) []byte {
	ipv4(p).setTTL(ttl)
	return p
}

// withID numbers a packet, because the kernel numbers what it makes of zero.
func withID(p []byte, id uint16) []byte {
	binary.BigEndian.PutUint16(p[4:], id)
	ipv4(p).fixChecksum()
	return p
}

const (
	lHost, rHost = "10.0.1.2:1000", "10.0.2.2:2000"
	svc          = "10.96.0.10:80"
)

// TestRulesLikeKernel loads the same rules into a kernel's namespace and into a
// host, sends the same packets through both, and compares what comes out and
// the counters of iptables-save -c.
func TestRulesLikeKernel(t *testing.T) {
	syn := func(src, dst string) []byte { return tcpPacket(src, dst, tcpSYN, 100, 0, nil) }
	udp := func(src, dst string) []byte { return udpPacket(src, dst, []byte("hello")) }
	echo := func(seq uint16) []byte { return echoPacket(between("10.0.1.2", "10.0.2.2", 0), seq, 8) }
	mss := []byte{2, 4, 5, 0xb4} // 1460
	tests := []struct {
		name, rules string
		packets     []injection
	}{
		{"REJECT of every kind", `*filter
-A FORWARD -p tcp --dport 1 -j REJECT --reject-with tcp-reset
-A FORWARD -p udp --dport 1 -j REJECT --reject-with icmp-net-unreachable
-A FORWARD -p udp --dport 2 -j REJECT --reject-with icmp-host-unreachable
-A FORWARD -p udp --dport 3 -j REJECT --reject-with icmp-proto-unreachable
-A FORWARD -p udp --dport 4 -j REJECT
-A FORWARD -p udp --dport 5 -j REJECT --reject-with icmp-net-prohibited
-A FORWARD -p udp --dport 6 -j REJECT --reject-with icmp-host-prohibited
-A INPUT -p udp --dport 7 -j REJECT --reject-with icmp-admin-prohibited
-A INPUT -p tcp --dport 7 -j REJECT --reject-with tcp-reset
COMMIT
`, fromLeft(syn(lHost, "10.0.2.2:1"), tcpPacket(lHost, "10.0.2.2:1", tcpACK, 5, 77, []byte("data")), tcpPacket(lHost, "10.0.2.2:1", tcpRST, 5, 0, nil),
			udp(lHost, "10.0.2.2:1"), udp("10.0.1.3:9", "10.0.2.2:2"), withTOS(udp(lHost, "10.0.2.2:3"), 0xb9), udp(lHost, "10.0.2.2:4"),
			udp(lHost, "10.0.2.2:5"), udp(lHost, "10.0.2.2:6"), udp(lHost, "10.0.1.1:7"), syn(lHost, "10.0.1.1:7"))},
		{"TCPMSS", `*mangle
-A PREROUTING -s 10.0.1.9/32 -p tcp --syn -j TCPMSS --set-mss 3000
-A FORWARD -d 10.0.2.2/32 -p tcp --syn -j TCPMSS --set-mss 1300
-A FORWARD -d 10.0.2.3/32 -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
`, fromLeft(synWith(lHost, rHost, mss...), synWith(lHost, rHost, 1, 1, 1, 1, 2, 4, 5, 0xb4), synWith(lHost, rHost, 2, 4, 2, 0), synWith(lHost, rHost),
			synWith(lHost, rHost, 1, 3, 3, 7), synWith(lHost, rHost, 1, 2, 4, 5, 0xb4, 1, 1, 0), synWith(lHost, rHost, bytes.Repeat([]byte{1}, 40)...),
			tcpPacket(lHost, rHost, tcpSYN, 1, 0, []byte("data")), tcpPacket(lHost, rHost, tcpACK, 1, 1, nil),
			synWith("10.0.1.9:5", rHost, mss...))},
		{"TTL, TOS, DSCP", `*mangle
-A PREROUTING -p udp --dport 1 -j TTL --ttl-set 10
-A PREROUTING -p udp --dport 2 -j TTL --ttl-dec 3
-A POSTROUTING -p udp --dport 3 -j TTL --ttl-inc 5
-A FORWARD -p udp --dport 4 -j DSCP --set-dscp-class EF
-A FORWARD -p udp --dport 5 -j TOS --set-tos 0x10/0xf0
-A FORWARD -p udp --dport 6 -j TOS --xor-tos 0x3
-A FORWARD -m dscp --dscp 46
-A FORWARD -m tos --tos 0x10/0xf0
-A FORWARD -m ttl --ttl-eq 9
-A FORWARD -m ttl --ttl-lt 64
COMMIT
`, fromLeft(udp(lHost, "10.0.2.2:1"), udp(lHost, "10.0.2.2:2"), withTTL(udp(lHost, "10.0.2.2:2"), 5), udp(lHost, "10.0.2.2:3"),
			withTOS(udp(lHost, "10.0.2.2:4"), 3), withTOS(udp(lHost, "10.0.2.2:5"), 0xff), withTOS(udp(lHost, "10.0.2.2:6"), 1))},
		{"marks", `*mangle
-A PREROUTING -m conntrack --ctstate NEW -j MARK --set-xmark 0x5/0xff
-A PREROUTING -m conntrack --ctstate NEW -j CONNMARK --save-mark --nfmask 0x4 --ctmask 0xf
-A PREROUTING -m conntrack --ctstate NEW -j CONNMARK --or-mark 0x100
-A PREROUTING -m conntrack --ctstate ESTABLISHED -j CONNMARK --restore-mark
-A FORWARD -m mark --mark 0x5
-A FORWARD -m mark --mark 0x104
-A FORWARD -m connmark --mark 0x104/0xfff
-A FORWARD -m mark ! --mark 0x4/0x4
-A FORWARD -j MARK --and-mark 0x100
-A FORWARD -m mark --mark 0x100
-A FORWARD -j MARK --xor-mark 0x101
-A POSTROUTING -m mark --mark 0x1
COMMIT
`, append(fromLeft(udp(lHost, rHost), udp(lHost, rHost)), fromRight(udp(rHost, lHost))...)},
		{"states", `*raw
-A PREROUTING -p udp --dport 9 -j NOTRACK
-A PREROUTING -p udp --dport 10 -j CT --notrack
COMMIT
*filter
-A FORWARD -m conntrack --ctstate UNTRACKED
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate NEW
-A FORWARD -m conntrack --ctstatus CONFIRMED
-A FORWARD -m conntrack ! --ctstatus SEEN_REPLY
COMMIT
`, append(append(fromLeft(udp(lHost, "10.0.2.2:9"), udp(lHost, "10.0.2.2:10"), udp(lHost, rHost), syn(lHost, "10.0.2.2:80"), echo(1)),
			fromRight(udp(rHost, lHost), tcpPacket("10.0.2.2:80", lHost, tcpSYN|tcpACK, 7, 101, nil), tcpPacket("10.0.2.2:81", lHost, tcpSYN|tcpACK, 7, 101, nil),
				echoPacket(between("10.0.2.2", "10.0.1.2", 0), 1, 8), portUnreachable("10.0.2.2", udp(lHost, rHost)), portUnreachable("10.0.2.2", udp("10.0.1.2:4", rHost)))...),
			fromLeft(udp(lHost, rHost))...)},
		{"conntrack tuples", `*nat
-A PREROUTING -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.2.2:8080
COMMIT
*filter
-A FORWARD -m conntrack --ctorigdst 10.96.0.10 --ctorigdstport 80 --ctproto tcp
-A FORWARD -m conntrack --ctreplsrc 10.0.2.2 --ctreplsrcport 8080 --ctdir ORIGINAL
-A FORWARD -m conntrack --ctdir REPLY
-A FORWARD -m conntrack --ctstate DNAT
-A FORWARD -m conntrack --ctstate SNAT
-A FORWARD -m conntrack --ctstatus ASSURED
-A FORWARD -m conntrack ! --ctorigsrc 10.0.1.0/24
-A FORWARD -m conntrack ! --ctrepldstport 1000:1010
COMMIT
`, append(append(fromLeft(syn(lHost, svc)), fromRight(tcpPacket("10.0.2.2:8080", lHost, tcpSYN|tcpACK, 500, 101, nil), syn(rHost, "10.0.1.2:5000"))...),
			fromLeft(tcpPacket(lHost, svc, tcpACK, 101, 501, nil), tcpPacket(lHost, svc, tcpACK, 101, 501, []byte("GET")))...)},
		{"NAT of every kind", `*nat
-A PREROUTING -d 10.96.0.10/32 -p udp --dport 80 -j DNAT --to-destination 10.0.2.2:8080
-A PREROUTING -d 10.97.0.0/16 -j NETMAP --to 10.0.2.0/24
-A PREROUTING -d 10.98.0.1/32 -p udp -j DNAT --to-destination 10.0.2.2:5000-5009/5100
-A PREROUTING -i eth0 -p udp --dport 53 -j REDIRECT --to-ports 5353
-A POSTROUTING -s 10.0.1.7/32 -j SNAT --to-source 10.0.2.77
-A POSTROUTING -s 10.0.1.8/32 -j NETMAP --to 10.99.0.0/16
-A POSTROUTING -s 10.0.1.9/32 -p udp -j MASQUERADE
-A POSTROUTING -s 10.0.1.10/32 -p udp -j SNAT --to-source 10.0.2.78:600
COMMIT
*filter
-A INPUT -p udp --dport 5353 -j DROP
COMMIT
`, append(fromLeft(udp(lHost, svc), udp(lHost, "10.97.5.2:9"), udp(lHost, "10.98.0.1:5103"), udp(lHost, "10.98.0.1:5117"), udp(lHost, "8.8.8.8:53"),
			udp("10.0.1.7:5", rHost), udp("10.0.1.8:5", rHost), udp("10.0.1.9:5", rHost), udp("10.0.1.10:5", rHost), udp("10.0.1.10:7", "10.0.2.2:2001")),
			fromRight(udp("10.0.2.2:8080", lHost), udp(rHost, "10.0.2.77:5"), udp(rHost, "10.0.2.1:5"), portUnreachable("10.0.2.2", udp("10.0.2.77:5", rHost)))...)},
		{"ports, flags, types, lengths", `*filter
-A FORWARD -p tcp -m multiport --dports 80,443,8000:8100
-A FORWARD -p udp -m multiport ! --ports 1000,53
-A FORWARD -p tcp --tcp-flags SYN,ACK SYN
-A FORWARD -p tcp ! --syn
-A FORWARD -p tcp ! --dport 80:90
-A FORWARD -p tcp --tcp-option 2
-A FORWARD -p tcp -m tcpmss --mss 1400:1500
-A FORWARD -p icmp --icmp-type 8
-A FORWARD -p icmp ! --icmp-type 3/3
-A FORWARD -p icmp --icmp-type any
-A FORWARD -m length --length 28:40
-A FORWARD -f
-A FORWARD ! -f
-A FORWARD -m iprange --src-range 10.0.1.1-10.0.1.2
-A FORWARD -m u32 --u32 "6&0xFF=17"
-A FORWARD -m u32 --u32 "0>>22&0x3C@0>>16=1000"
-A FORWARD -p 47
-A FORWARD ! -p udp
-A FORWARD -m addrtype --dst-type UNICAST
-A FORWARD -m addrtype ! --src-type LOCAL
-A FORWARD -m mac --mac-source 02:00:00:00:01:02
-A FORWARD -m pkttype --pkt-type unicast
COMMIT
`, append(fromLeft(syn(lHost, "10.0.2.2:80"), syn(lHost, "10.0.2.2:8050"), tcpPacket(lHost, "10.0.2.2:22", tcpACK, 1, 1, nil), synWith(lHost, rHost, mss...),
			udp(lHost, rHost), udp("10.0.1.9:53", "10.0.2.2:54"), echo(1), ipPacket(between("10.0.1.2", "10.0.2.2", 47), make([]byte, 8))),
			append(fromLeft(pieces(withID(echoPacket(between("10.0.1.2", "10.0.2.2", 0), 1, 2000), 5), 1500)...), fromRight(udp(rHost, lHost))...)...)},
		{"addrtype and rpfilter", `*raw
-A PREROUTING -m rpfilter
-A PREROUTING -m rpfilter --invert
-A PREROUTING -m rpfilter --loose
-A PREROUTING -m addrtype --dst-type LOCAL
-A PREROUTING -m addrtype --dst-type BROADCAST
-A PREROUTING -m addrtype --dst-type MULTICAST
-A PREROUTING -m addrtype --dst-type UNICAST
-A PREROUTING -m addrtype --dst-type LOCAL --limit-iface-in
-A PREROUTING -m addrtype --src-type UNICAST
-A PREROUTING -m addrtype --dst-type UNREACHABLE
COMMIT
*filter
-A INPUT -j DROP
COMMIT
`, append(fromLeft(udp(lHost, rHost), udp("10.0.2.9:5", rHost), udp("9.9.9.9:5", rHost), udp(lHost, "10.0.1.1:5"), udp(lHost, "10.0.2.1:5"),
			udp(lHost, "10.0.1.255:5"), udp(lHost, "10.0.2.255:5"), udp(lHost, "224.0.0.5:5"), udp(lHost, "255.255.255.255:5"), udp(lHost, "127.0.0.1:5")),
			fromRight(udp(rHost, lHost))...)},
		{"statistic nth, recent, limits", `*filter
-A FORWARD -m statistic --mode nth --every 3 --packet 0
-A FORWARD -m statistic --mode nth ! --every 2 --packet 1
-A FORWARD -m limit --limit 1/hour --limit-burst 3
-A FORWARD -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name podwire
-A FORWARD -m hashlimit --hashlimit-above 1/hour --hashlimit-burst 2 --hashlimit-mode srcip,dstport --hashlimit-name podwire2
-A FORWARD -m recent --set --name podwire --rsource
-A FORWARD -m recent --rcheck --seconds 100 --hitcount 4 --name podwire --rsource
-A FORWARD -m recent --update --hitcount 2 --name podwire --rsource
-A FORWARD -p tcp --syn -m connlimit --connlimit-above 2 --connlimit-mask 32
-A FORWARD -p tcp --syn -m connlimit --connlimit-upto 2 --connlimit-mask 24 --connlimit-daddr
COMMIT
`, append(fromLeft(udp(lHost, rHost), udp(lHost, rHost), udp(lHost, "10.0.2.2:9"), udp("10.0.1.3:1", rHost), udp(lHost, rHost), udp(lHost, rHost),
			syn("10.0.1.2:1", rHost), syn("10.0.1.2:2", rHost), syn("10.0.1.2:3", rHost), syn("10.0.1.3:3", rHost)), fromRight(udp(rHost, lHost))...)},
		{"jumps and policies", `*filter
:FORWARD DROP [0:0]
:A - [0:0]
:B - [0:0]
-A FORWARD -p udp -j A
-A FORWARD -p icmp -g B
-A FORWARD -p icmp -j ACCEPT
-A A -p udp --dport 1 -j RETURN
-A A -p udp --dport 2 -j B
-A A -p udp --dport 3 -j ACCEPT
-A A -p udp --dport 4 -g B
-A B -p udp -j RETURN
-A FORWARD -p udp --dport 2 -j ACCEPT
COMMIT
`, fromLeft(udp(lHost, "10.0.2.2:1"), udp(lHost, "10.0.2.2:2"), udp(lHost, "10.0.2.2:3"), udp(lHost, "10.0.2.2:4"), echo(1), syn(lHost, rHost))},
		{"what never reaches FORWARD", `*mangle
-A PREROUTING
-A INPUT
-A FORWARD
-A OUTPUT
-A POSTROUTING
COMMIT
`, fromLeft(withTTL(udp(lHost, rHost), 1), udp(lHost, "9.9.9.9:9"), udp("127.0.0.1:1", rHost), udp("10.0.1.255:1", rHost), udp("224.0.0.1:1", rHost),
			udp("10.0.2.1:1", rHost), udp("0.0.0.0:1", rHost), echoPacket(between("10.0.1.2", "10.0.1.1", 0), 1, 8), withTTL(echoPacket(between("10.0.1.2", "10.0.1.1", 0), 2, 8), 1),
			udp(lHost, "10.0.1.1:5"), echoPacket(between("10.0.1.2", "10.0.1.255", 0), 1, 8), echoPacket(between("10.0.1.2", "224.0.0.1", 0), 1, 8))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantLikeKernel(t, iptablesTool, tt.rules, tt.packets...) })
	}
}

// portUnreachable is an ICMP error of from about a packet.
func portUnreachable(from string, about []byte) []byte {
	b := make([]byte, icmpHeader+len(about))
	putICMP(b, icmpUnreachable, codePort, 0, about)
	return ipPacket(ipHeader{src: addr(from), dst: ipv4(about).src(), proto: protoICMP}, b)
}
