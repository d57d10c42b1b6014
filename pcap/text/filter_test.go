package text

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/podwire/podwire/pcap"
)

func TestFilterMistakes(t *testing.T) {
	for expr, want := range map[string]string{
		"hots 1.2.3.4":                      `word 1: "hots" is not known, did you mean host?`,
		"10.244.1.2":                        "found 10.244.1.2, want host 10.244.1.2 or net",
		"host web":                          `host "web" is neither an address nor a known name`,
		"tcp port http":                     `port "http", want a number up to 65535`,
		"icmp port 80":                      "icmp has no ports, want tcp, udp or sctp",
		"port 70000":                        `port "70000", want a number up to 65535`,
		"portrange 90-80":                   `portrange "90-80", want two ports such as 80-90`,
		"net 10.244.1.0/16":                 "net 10.244.1.0/16 has bits behind the prefix, want 10.244.0.0/16",
		"tcp and":                           "the expression ends, want host, port, tcp ...",
		"(tcp":                              `found "", want a closing parenthesis`,
		"tcp udp":                           `found "udp", want and, or or the end`,
		"ether host 1.2.3.4":                "want a MAC address, broadcast, multicast or proto behind ether",
		"tcp[13":                            "want PROTO[OFFSET] or PROTO[OFFSET:SIZE]",
		"tpc[13] = 2":                       "want ether, ip, arp, tcp, udp or icmp before the bracket",
		"tcp[13:3] = 2":                     `size "3", want 1, 2 or 4`,
		"tcp[tcpflags] tcp-syn":             "want =, !=, <, >, <= or >=",
		"tcp[tcpflags] & tcp-syn":           "want =, !=, <, >, <= or >=",
		"tcp[tcpflags] = syn":               "want a number or a name such as tcp-syn",
		"less x":                            "want a number of bytes",
		"host":                              "the expression ends, want what host is",
		strings.Repeat("not ", 500) + "tcp": "more than 100 levels of nesting",
	} {
		f, err := ParseFilter(expr, nil)
		if err == nil || f != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", expr, err, want)
		}
	}
}

func TestFilterKnowsNames(t *testing.T) {
	f, err := ParseFilter("host web", func(name string) (netip.Addr, bool) { return netip.MustParseAddr("98.98.98.98"), name == "web" })
	if err != nil {
		t.Fatal(err)
	}
	ip := []byte("\x45\x00\x00\x14\x00\x00\x00\x00\x40\x01\x00\x00aaaabbbb")
	if !f.Match(pcap.Raw, ip) {
		t.Error("host web does not choose a packet to web")
	}
	var all *Filter
	if !all.Match(pcap.Raw, ip) {
		t.Error("no filter does not choose everything")
	}
}

// What tcpdump would print of these was not captured from a kernel here.
func TestText(t *testing.T) {
	name := func(a netip.Addr) string { return map[string]string{"97.97.97.97": "client"}[a.String()] }
	query := "\x00\x35\x04\x00\x00\x2d\x00\x00" + "\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x60\x00\x0a"
	for _, tt := range []struct {
		name, packet, want string
		p                  Printer
	}{
		{"names", "\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x01\x00\x00aaaabbbb\x08\x00\x00\x00\x00\x01\x00\x02", "IP client > 98.98.98.98: ICMP echo request, id 1, seq 2, length 8", Printer{Name: name}},
		{"DNS answer", "\x45\x00\x00\x41\x00\x00\x00\x00\x40\x11\x00\x00aaaabbbb" + query, "IP 97.97.97.97.53 > 98.98.98.98.1024: 4660* 1/0/0 A 10.96.0.10 (37)", Printer{}},
		{"cut in the IP header", "\x45\x00\x00\x1c", "IP [|ip]", Printer{}},
		{"cut in the TCP header", "\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x06\x00\x00aaaabbbb\x00\x50\x00\x51\x00\x00\x00\x00", "IP 97.97.97.97.80 > 98.98.98.98.81:  [|tcp]", Printer{}},
		{"fragment", "\x45\x00\x00\x1c\x00\x00\x00\x10\x40\x01\x00\x00aaaabbbb\x08\x00\x00\x00\x00\x01\x00\x02", "IP 97.97.97.97 > 98.98.98.98: ip-proto-1", Printer{}},
		{"admin prohibited", "\x45\x00\x00\x30\x00\x00\x00\x00\x40\x01\x00\x00aaaabbbb\x03\x0d\x00\x00\x00\x00\x00\x00\x45\x00\x00\x14\x00\x00\x00\x00\x40\x06\x00\x00bbbbcccc", "IP 97.97.97.97 > 98.98.98.98: ICMP host 99.99.99.99 unreachable - admin prohibited filter, length 28", Printer{}},
	} {
		if got := tt.p.Packet(pcap.Raw, []byte(tt.packet), len(tt.packet)); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
