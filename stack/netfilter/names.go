package netfilter

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// IP protocol numbers that matches and targets care about.
const (
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoDCCP    = 33
	protoSCTP    = 132
	protoUDPLite = 136
)

// hasPorts reports whether a protocol's header begins with a source and a destination port.
func hasPorts(proto uint8) bool {
	switch proto {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
		return true
	}
	return false
}

type protocol struct {
	name string
	num  uint8
}

// protocols are the names that iptables prints for IANA's assigned protocol numbers; a name that only reads, not
// prints, comes after the one that prints.
var protocols = []protocol{
	{"tcp", protoTCP}, {"udp", protoUDP}, {"icmp", protoICMP}, {"sctp", protoSCTP}, {"udplite", protoUDPLite},
	{"igmp", 2}, {"ggp", 3}, {"ipencap", 4}, {"st", 5}, {"egp", 8}, {"igp", 9}, {"pup", 12}, {"hmp", 20},
	{"xns-idp", 22}, {"rdp", 27}, {"iso-tp4", 29}, {"dccp", protoDCCP}, {"xtp", 36}, {"ddp", 37}, {"idpr-cmtp", 38},
	{"ipv6", 41}, {"ipv6-route", 43}, {"ipv6-frag", 44}, {"idrp", 45}, {"rsvp", 46}, {"gre", 47}, {"esp", 50},
	{"ah", 51}, {"skip", 57}, {"ipv6-icmp", 58}, {"icmpv6", 58}, {"ipv6-nonxt", 59}, {"ipv6-opts", 60}, {"rspf", 73},
	{"vmtp", 81}, {"eigrp", 88}, {"ospf", 89}, {"ax.25", 93}, {"ipip", 94}, {"etherip", 97}, {"encap", 98},
	{"pim", 103}, {"ipcomp", 108}, {"vrrp", 112}, {"l2tp", 115}, {"isis", 124}, {"fc", 133}, {"manet", 138},
	{"hip", 139}, {"shim6", 140}, {"wesp", 141}, {"rohc", 142}, {"ethernet", 143},
}

func appendProto(b []byte, num uint8) []byte {
	for _, p := range protocols {
		if p.num == num {
			return append(b, p.name...)
		}
	}
	return strconv.AppendUint(b, uint64(num), 10)
}

// parseProto reads -p. 0 means any protocol.
func parseProto(w word) (uint8, error) {
	if w.text != "" && w.text[0] <= '9' {
		if n, err := strconv.ParseUint(w.text, 10, 8); err == nil {
			return uint8(n), nil
		}
	}
	name := strings.ToLower(w.text)
	if name == "all" || name == "ip" {
		return 0, nil
	}
	for _, p := range protocols {
		if p.name == name {
			return p.num, nil
		}
	}
	known := make([]string, 0, len(protocols))
	for _, p := range protocols {
		known = append(known, p.name)
	}
	return 0, w.unknown("protocol", known)
}

// services are the port names that rules written by hand use; iptables prints numbers always.
var services = map[string]uint16{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68,
	"tftp": 69, "http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "ntp": 123, "imap2": 143,
	"snmp": 161, "snmp-trap": 162, "bgp": 179, "ldap": 389, "https": 443, "microsoft-ds": 445, "isakmp": 500,
	"syslog": 514, "submission": 587, "ldaps": 636, "domain-s": 853, "imaps": 993, "pop3s": 995, "openvpn": 1194,
	"mysql": 3306, "ipsec-nat-t": 4500, "postgresql": 5432, "mdns": 5353, "redis": 6379, "http-alt": 8080,
}

func parsePort(w word) (uint16, error) {
	if n, err := strconv.ParseUint(w.text, 10, 32); err == nil {
		if n > 65535 {
			return 0, w.errorf("port beyond 65535")
		}
		return uint16(n), nil
	}
	if n, ok := services[w.text]; ok {
		return n, nil
	}
	e := w.errorf("not a port number or known service")
	e.Near = typo.Nearest(w.text, sortedKeys(services))
	return 0, e
}

// parsePorts reads PORT, LO:HI, LO: or :HI; sep is what separates the bounds.
func parsePorts(w word, sep string) (lo, hi uint16, err error) {
	first, second, isRange := strings.Cut(w.text, sep)
	lo, hi = 0, 65535
	if first != "" || !isRange {
		if lo, err = parsePort(word{first, w.col}); err != nil {
			return 0, 0, err
		}
	}
	if !isRange {
		return lo, lo, nil
	}
	if second != "" {
		if hi, err = parsePort(word{second, w.col + len(first) + len(sep)}); err != nil {
			return 0, 0, err
		}
	}
	if lo > hi {
		return 0, 0, w.errorf("range runs from %d down to %d", lo, hi)
	}
	return lo, hi, nil
}

// parseNumber reads a number as C's strtoul does with base 0: decimal, 0x hexadecimal, leading 0 octal.
func parseNumber(w word, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(w.text, 0, 64)
	if err != nil || strings.ContainsAny(w.text, "_oO") || len(w.text) > 1 && w.text[0] == '0' &&
		(w.text[1] == 'b' || w.text[1] == 'B') {
		return 0, w.errorf("not a number")
	}
	if n > limit {
		return 0, w.errorf("number beyond %d", limit)
	}
	return n, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
