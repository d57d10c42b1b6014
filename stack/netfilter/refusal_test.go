package netfilter

import (
	"errors"
	"strings"
	"testing"
)

// refusal is a text that Restore refuses, and what it says. A text that the real tool takes is marked as stricter.
type refusal struct {
	name     string
	text     string
	want     string
	is       error
	stricter bool
}

// in wraps one line into a table with the user chain USR.
func in(table, line string) string { return "*" + table + "\n:USR - [0:0]\n" + line + "\nCOMMIT\n" }

var refusals = []refusal{
	{name: "unknown table", text: "*fliter\nCOMMIT\n", want: `line 1, column 2: "fliter": unknown table, nearest is "filter"`},
	{name: "outside a table", text: "-A INPUT -j DROP\n", want: `line 1, column 1: "-A INPUT -j DROP": outside any table, wanted a *table line`},
	{name: "not committed", text: "*filter\n-A INPUT -j DROP\n", want: `line 1, column 1: "*filter": the table is never committed, wanted COMMIT before the text ends`},
	{name: "bad policy", text: "*filter\n:INPUT REJECT [0:0]\nCOMMIT\n", want: `line 2, column 8: "REJECT": not a policy, wanted ACCEPT or DROP`},
	{name: "policy for a user chain", text: "*filter\n:USR DROP [0:0]\nCOMMIT\n", want: `line 2, column 6: "DROP": only built-in chains have a policy, wanted -`, stricter: true},
	{name: "bad counters", text: "*filter\n:INPUT DROP [x]\nCOMMIT\n", want: `line 2, column 13: "[x]": not counters, wanted [packets:bytes]`, stricter: true},
	{name: "open quote", text: in("filter", `-A INPUT -m comment --comment "abc -j DROP`), want: `line 3, column 31: the quote is never closed`, stricter: true},
	{name: "trailing comment", text: in("filter", "-A INPUT -j DROP # why"), want: `line 3, column 18: "#": a comment needs a line of its own`},
	{name: "garbage", text: in("filter", "foo"), want: `line 3, column 1: "foo": bad argument, options begin with -`},
	{name: "unknown match", text: in("filter", "-A INPUT -m conntrak --ctstate NEW"), want: `line 3, column 13: "conntrak": unknown match, nearest is "conntrack"`},
	{name: "unknown option", text: in("filter", "-A INPUT -m comment --coment x"), want: `line 3, column 21: "--coment": unknown option, nearest is "--comment"`},
	{name: "option without its match", text: in("filter", "-A INPUT --dport 80 -j DROP"), want: `line 3, column 10: "--dport": this option belongs to -m sctp, -m tcp, -m udp`},
	{name: "unknown target", text: in("filter", "-A INPUT -j DORP"), want: `line 3, column 13: "DORP": no such chain or target, nearest is "DROP"`, is: ErrNoChain},
	{name: "unknown chain", text: in("nat", "-A KUBE -j ACCEPT"), want: `line 3, column 4: "KUBE": no such chain in table nat`, is: ErrNoChain},
	{name: "unknown protocol", text: in("filter", "-A INPUT -p tpc"), want: `line 3, column 13: "tpc": unknown protocol, nearest is "tcp"`},
	{name: "bad address", text: in("filter", "-A INPUT -s 1.2.3.400 -j DROP"), want: `line 3, column 13: "1.2.3.400": not an IPv4 address (names are not resolved)`},
	{name: "bad mask", text: in("filter", "-A INPUT -s 1.2.3.4/33 -j DROP"), want: `line 3, column 21: "33": not a mask, wanted 0 to 32 or four bytes`},
	{name: "IPv6", text: in("filter", "-A INPUT -s fd00::1 -j DROP"), want: `line 3, column 13: "fd00::1": an IPv6 address in IPv4 rules`},
	{name: "not of several", text: in("filter", "-A INPUT ! -s 1.2.3.4,5.6.7.8 -j DROP"), want: `line 3, column 15: "1.2.3.4,5.6.7.8": ! is not allowed with several addresses`},
	{name: "nothing left", text: in("filter", "-A INPUT ! -s 0.0.0.0/0 -j DROP"), want: `line 3, column 15: "0.0.0.0/0": the rule would never match: it excludes every address`},
	{name: "no protocol left", text: in("filter", "-A INPUT ! -p all -j DROP"), want: `line 3, column 15: "all": the rule would never match: it excludes every protocol`},
	{name: "-o in INPUT", text: in("filter", "-A INPUT -o eth0 -j DROP"), want: `line 3, column 4: "INPUT": -o has no meaning here, the packet has no output interface`},
	{name: "-i in POSTROUTING", text: in("nat", "-A POSTROUTING -i eth0 -j MASQUERADE"), want: `line 3, column 4: "POSTROUTING": -i has no meaning here, the packet has no input interface`},
	{name: "two targets", text: in("filter", "-A INPUT -j DROP -j ACCEPT"), want: `line 3, column 18: "-j": this option was given already`},
	{name: "missing value", text: in("filter", "-A INPUT -j"), want: `line 3, column 10: "-j": a value is missing`},
	{name: "target takes no option", text: in("filter", "-A INPUT -j ACCEPT --random"), want: `line 3, column 20: "--random": this option belongs to -j DNAT, -j MASQUERADE, -j REDIRECT, -j SNAT`},
	{name: "too many ports", text: in("filter", "-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16"), want: `line 3, column 39: "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16": 16 ports, at most 15 fit (a range counts as two)`},
	{name: "multiport without protocol", text: in("filter", "-A INPUT -m multiport --dports 80"), want: `line 3, column 13: "multiport": multiport needs -p tcp, udp, udplite, sctp or dccp`},
	{name: "bad state", text: in("filter", "-A INPUT -m conntrack --ctstate NEW,ESTABLISHD"), want: `line 3, column 37: "ESTABLISHD": unknown state, nearest is "ESTABLISHED"`},
	{name: "NAT state of -m state", text: in("filter", "-A INPUT -m state --state SNAT"), want: `line 3, column 27: "SNAT": unknown state`},
	{name: "no state", text: in("filter", "-A INPUT -m conntrack"), want: `line 3, column 13: "conntrack": this match needs --ctstate`},
	{name: "given twice", text: in("filter", "-A INPUT -m mark --mark 1 --mark 2"), want: `line 3, column 27: "--mark": this option was given already`},
	{name: "probability", text: in("filter", "-A INPUT -m statistic --mode random --probability 1.5"), want: `line 3, column 51: "1.5": not a probability, wanted 0 to 1`},
	{name: "nth without packet", text: in("filter", "-A INPUT -m statistic --mode nth --every 3"), want: `line 3, column 13: "statistic": mode nth needs --every and --packet and nothing else`},
	{name: "nth that never comes", text: in("filter", "-A INPUT -m statistic --mode nth --every 3 --packet 3"), want: `line 3, column 13: "statistic": packet 3 never comes in a round of 3, the first is 0`},
	{name: "recent without operation", text: in("filter", "-A INPUT -m recent --name x"), want: `line 3, column 13: "recent": recent needs --set, --rcheck, --update or --remove`},
	{name: "recent with two", text: in("filter", "-A INPUT -m recent --set --rcheck"), want: `line 3, column 26: "--rcheck": --set is given already`},
	{name: "reap without seconds", text: in("filter", "-A INPUT -m recent --rcheck --reap"), want: `line 3, column 13: "recent": --reap needs --seconds`},
	{name: "set with seconds", text: in("filter", "-A INPUT -m recent --set --seconds 5"), want: `line 3, column 13: "recent": --seconds, --reap, --hitcount and --rttl need --rcheck or --update`},
	{name: "limit-iface-in at OUTPUT", text: in("filter", "-A OUTPUT -m addrtype --src-type LOCAL --limit-iface-in"), want: `line 3, column 4: this rule has no place at OUTPUT`},
	{name: "address type", text: in("filter", "-A FORWARD -m addrtype --dst-type LOCL"), want: `line 3, column 35: "LOCL": unknown address type, nearest is "LOCAL"`},
	{name: "no direction", text: in("filter", "-A INPUT -m conntrack --ctdir BACK"), want: `line 3, column 31: "BACK": unknown direction`},
	{name: "hashlimit by bytes", text: in("filter", "-A INPUT -m hashlimit --hashlimit-upto 5kb/s --hashlimit-name foo"), want: `line 3, column 40: "5kb/s": iptables limits bytes too, this emulation only packets`, stricter: true},
	{name: "hashlimit without name", text: in("filter", "-A INPUT -m hashlimit --hashlimit 5/s"), want: `line 3, column 13: "hashlimit": hashlimit needs --hashlimit-name`},
	{name: "connlimit twice", text: in("filter", "-A INPUT -m connlimit --connlimit-upto 1 --connlimit-above 2"), want: `line 3, column 42: "--connlimit-above": only one limit can be given`},
	{name: "string", text: in("filter", "-A INPUT -m string --algo bm --string x"), want: `line 3, column 13: "string": iptables has this match, this emulation has not`, stricter: true},
	{name: "rpfilter in filter", text: in("filter", "-A INPUT -m rpfilter"), want: `line 3, column 4: "INPUT": rpfilter has no place in table filter, wanted raw or mangle`},
	{name: "owner at INPUT", text: in("filter", "-A INPUT -m owner --uid-owner 0"), want: `line 3, column 4: this rule has no place at INPUT`},
	{name: "owner by name", text: in("filter", "-A OUTPUT -m owner --uid-owner nobody-here"), want: `line 3, column 32: "nobody-here": not a number or range of numbers: users have no names here, except root`},
	{name: "MAC", text: in("filter", "-A INPUT -m mac --mac-source 00:11"), want: `line 3, column 30: "00:11": not a MAC address, wanted for example 02:42:ac:11:00:02`},
	{name: "mac at OUTPUT", text: in("filter", "-A OUTPUT -m mac --mac-source 00:11:22:33:44:55"), want: `line 3, column 4: this rule has no place at OUTPUT`},
	{name: "u32", text: in("filter", "-A INPUT -m u32 --u32 0"), want: `line 3, column 23: "0": "0" is not LOCATION=VALUES`},
	{name: "DSCP class", text: in("filter", "-A INPUT -m dscp --dscp-class AF44"), want: `line 3, column 31: "AF44": unknown DSCP class, nearest is "AF41"`},
	{name: "TTL in filter", text: in("filter", "-A INPUT -j TTL --ttl-set 64"), want: `line 3, column 13: "TTL": this target has no place in table filter, wanted mangle`},
	{name: "TTL twice", text: in("mangle", "-A FORWARD -j TTL --ttl-set 64 --ttl-dec 1"), want: `line 3, column 32: "--ttl-dec": --ttl-set is given already`},
	{name: "TOS without value", text: in("mangle", "-A FORWARD -j TOS"), want: `line 3, column 15: "TOS": TOS needs --set-tos, --and-tos, --or-tos or --xor-tos`},
	{name: "NETMAP at FORWARD", text: in("filter", "-A FORWARD -j NETMAP --to 10.0.0.0/8"), want: `line 3, column 15: "NETMAP": this target has no place in table filter, wanted nat`},
	{name: "TCPMSS without SYN", text: in("mangle", "-A FORWARD -p tcp -j TCPMSS --set-mss 1300"), want: `line 3, column 22: "TCPMSS": TCPMSS needs a match on SYN, such as --tcp-flags SYN,RST SYN`, stricter: true},
	{name: "TPROXY", text: in("mangle", "-A PREROUTING -p tcp -j TPROXY --on-port 80"), want: `line 3, column 25: "TPROXY": iptables has this target, this emulation has not`, stricter: true},
	{name: "missing set", text: in("filter", "-A INPUT -m set --match-set foo src"), want: `line 3, column 4: "foo": no such set`, is: ErrNoSet},
	{name: "port range backwards", text: in("filter", "-A INPUT -p udp --dport 200:100"), want: `line 3, column 25: "200:100": range runs from 200 down to 100`, stricter: true},
	{name: "port too big", text: in("filter", "-A INPUT -p tcp --dport 99999"), want: `line 3, column 25: "99999": port beyond 65535`},
	{name: "port list for tcp", text: in("filter", "-A INPUT -p tcp --dport 80,90"), want: `line 3, column 25: "80,90": not a port number or known service`},
	{name: "tcp match on udp", text: in("filter", "-A INPUT -p udp -m tcp --dport 2"), want: `line 3, column 20: "tcp": this match needs -p tcp`},
	{name: "TCP flag", text: in("filter", "-A INPUT -p tcp --tcp-flags syn,foo SYN"), want: `line 3, column 29: "foo": unknown TCP flag`},
	{name: "ICMP type", text: in("filter", "-A INPUT -p icmp --icmp-type echo-requst"), want: `line 3, column 30: "echo-requst": unknown ICMP type, nearest is "echo-request"`},
	{name: "ICMP number", text: in("filter", "-A INPUT -p icmp --icmp-type 300"), want: `line 3, column 30: "300": number beyond 255`},
	{name: "icmp without type", text: in("filter", "-A INPUT -p icmp -m icmp"), want: `line 3, column 21: "icmp": icmp needs --icmp-type`},
	{name: "rate", text: in("filter", "-A INPUT -m limit --limit 10001/s"), want: `line 3, column 27: "10001/s": faster than 10000/s, the most that the kernel can count`},
	{name: "length", text: in("filter", "-A INPUT -m length --length 70000"), want: `line 3, column 29: "70000": number beyond 65535`},
	{name: "interface name", text: in("filter", "-A INPUT -i averyveryverylongname"), want: `line 3, column 13: "averyveryverylongname": interface name of 21 bytes, at most 15 fit`},
	{name: "chain name", text: in("filter", "-N averyveryveryverylongchainname"), want: `line 3, column 4: "averyveryveryverylongchainname": chain name of 30 bytes, at most 28 fit`},
	{name: "chain named like a target", text: in("filter", "-N MASQUERADE"), want: `line 3, column 4: "MASQUERADE": a chain cannot have the name of a target`},
	{name: "chain exists", text: in("filter", "-N USR"), want: `line 3, column 4: "USR": chain already exists`, is: ErrChainExists},
	{name: "table option in a file", text: in("filter", "-t nat -A PREROUTING -j ACCEPT"), want: `line 3, column 1: "-t": the table is chosen by a *table line here`},
	{name: "index too big", text: in("filter", "-I INPUT 2 -j ACCEPT"), want: `line 3, column 4: "INPUT": rule 2 cannot be inserted, the chain has 0`},
	{name: "delete by number", text: in("filter", "-D INPUT 1"), want: `line 3, column 4: "INPUT": no rule 1, the chain has 0`, is: ErrNoRule},
	{name: "delete by rule", text: in("filter", "-D INPUT -j ACCEPT"), want: `line 3, column 4: "INPUT": no such rule`, is: ErrNoRule},
	{name: "delete built-in", text: in("filter", "-X INPUT"), want: `line 3, column 4: "INPUT": a built-in chain cannot be deleted`},
	{name: "delete in use", text: in("filter", "-A INPUT -j USR\n-X USR"), want: `line 3, column 13: "USR": the chain cannot be deleted, chain INPUT jumps to it`, is: ErrChainInUse},
	{name: "delete with rules", text: in("filter", "-A USR -j DROP\n-X USR"), want: `line 4, column 4: "USR": chain USR still has rules, flush it first`, is: ErrChainInUse},
	{name: "jump to built-in", text: in("filter", "-A USR -j INPUT"), want: `line 3, column 11: "INPUT": a built-in chain cannot be jumped to`, is: ErrNoChain},
	{name: "circle", text: in("filter", ":B - [0:0]\n-A INPUT -j USR\n-A USR -j B\n-A B -g USR"), is: ErrLoop, want: `nest more than 15 deep`},
	{name: "DNAT without address", text: in("nat", "-A PREROUTING -p tcp -j DNAT"), want: `line 3, column 25: "DNAT": DNAT needs --to-destination`},
	{name: "DNAT port without protocol", text: in("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.1:80"), want: `line 3, column 18: "DNAT": ports need -p tcp, udp, udplite, sctp or dccp`},
	{name: "DNAT backwards", text: in("nat", "-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1:90-80"), want: `line 3, column 56: "90-80": range runs from 90 down to 80`},
	{name: "DNAT random-fully", text: in("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.1 --random-fully"), want: `line 3, column 49: "--random-fully": this option belongs to -j MASQUERADE, -j SNAT`},
	{name: "DNAT at POSTROUTING", text: in("nat", "-A POSTROUTING -j DNAT --to-destination 10.0.0.1"), want: `line 3, column 19: "DNAT": this rule has no place at POSTROUTING`},
	{name: "DNAT reached from POSTROUTING", text: in("nat", "-A USR -j DNAT --to-destination 10.0.0.1\n-A POSTROUTING -j USR"), want: `line 3, column 11: "DNAT": this rule has no place at POSTROUTING, and chain USR is reached from there`},
	{name: "MASQUERADE in filter", text: in("filter", "-A USR -j MASQUERADE"), want: `line 3, column 11: "MASQUERADE": this target has no place in table filter, wanted nat`},
	{name: "MASQUERADE at PREROUTING", text: in("nat", "-A PREROUTING -j MASQUERADE"), want: `line 3, column 18: "MASQUERADE": this rule has no place at PREROUTING`},
	{name: "REJECT in nat", text: in("nat", "-A PREROUTING -j REJECT"), want: `line 3, column 18: "REJECT": this target has no place in table nat, wanted filter`},
	{name: "DROP in nat", text: in("nat", "-A PREROUTING -j DROP"), want: `line 3, column 18: "DROP": the nat table sees only the first packet of a connection and must not drop`},
	{name: "policy DROP in nat", text: in("nat", "-P PREROUTING DROP"), want: `"PREROUTING": the nat table sees only`},
	{name: "NOTRACK in filter", text: in("filter", "-A INPUT -j NOTRACK"), want: `line 3, column 13: "NOTRACK": this target has no place in table filter, wanted raw`},
	{name: "reset without tcp", text: in("filter", "-A INPUT -j REJECT --reject-with tcp-reset"), want: `line 3, column 13: "REJECT": tcp-reset needs -p tcp`},
	{name: "reject type", text: in("filter", "-A INPUT -j REJECT --reject-with icmp-port-unreachble"), want: `line 3, column 34: "icmp-port-unreachble": unknown answer, nearest is "icmp-port-unreachable"`},
	{name: "mark value", text: in("mangle", "-A FORWARD -j MARK --set-mark 0x1ffffffff"), want: `line 3, column 31: "0x1ffffffff": number beyond 4294967295`},
	{name: "MARK without value", text: in("mangle", "-A FORWARD -j MARK"), want: `line 3, column 15: "MARK": MARK needs --set-xmark, --set-mark, --and-mark, --or-mark or --xor-mark`},
	{name: "TCPMSS without tcp", text: in("mangle", "-A FORWARD -j TCPMSS --set-mss 1300"), want: `line 3, column 15: "TCPMSS": TCPMSS needs -p tcp`},
	{name: "not before nothing", text: in("filter", "-A INPUT ! ! -s 10.0.0.1"), want: `line 3, column 12: "!": two in a row`},
	{name: "not at the end", text: in("filter", "-A INPUT !"), want: `line 3, column 10: "!": nothing follows`},
	{name: "not of what cannot be inverted", text: in("filter", "-A INPUT ! -j DROP"), want: `line 3, column 10: "!": -j cannot be inverted`},
	{name: "not behind", text: in("filter", "-A INPUT -s ! 10.0.0.5"), want: `line 3, column 13: "!": not an IPv4 address`},
}

func TestRefusals(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			r := New()
			before := "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A FORWARD -i eth0 -j ACCEPT\nCOMMIT\n"
			if err := r.Restore(before, RestoreOptions{}); err != nil {
				t.Fatal(err)
			}
			err := r.Restore("*mangle\n-A PREROUTING -j MARK --set-mark 1\nCOMMIT\n"+c.text, RestoreOptions{})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("Restore: got %v, want an *Error\n%s", err, c.text)
			}
			e.Line -= 3 // the mangle table before it
			if got := e.Error(); !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s\n%s", got, c.want, c.text)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if got := r.Save(); got != before {
				t.Errorf("a refused text changed the rules:\n%s", got)
			}
		})
	}
}
