package nftables

import (
	"errors"
	"testing"
)

// TestRefusals: what is wrong is said with line, column and what is wanted.
func TestRefusals(t *testing.T) {
	in := func(rule string) string { return "table ip t {\n\tchain c {\n\t\t" + rule + "\n\t}\n}\n" }
	tests := []struct{ text, want string }{
		{"tabel ip t {\n}\n", `nftables: line 1, column 1: "tabel": unknown command, nearest is "table"`},
		{"table ip t {\n\tchian c {\n\t}\n}\n", `nftables: line 2, column 2: "chian": unknown part of a table, nearest is "chain"`},
		{in("ip dadr 10.0.0.1 drop"), `nftables: line 3, column 6: "dadr": unknown field of ip, nearest is "daddr"`},
		{in("ip daddr 10.0.0.256 drop"), `nftables: line 3, column 12: "10.0.0.256": not an IPv4 address, prefix or range`},
		{in("tcp dport 70000 drop"), `nftables: line 3, column 13: "70000": not a value of type inet_service, want a number of up to 65535`},
		{in("ct state nwe accept"), `nftables: line 3, column 12: "nwe": unknown value of type ct_state, nearest is "new"`},
		{in("jmp other"), `nftables: line 3, column 3: "jmp": unknown statement, nearest is "jump"`},
		{in("jump othr\n\t}\n\tchain other {"), `nftables: line 3, column 8: "othr": there is no such chain in table ip t, nearest is "other"`},
		{in("ip daddr @nobody drop"), `nftables: line 3, column 12: "@nobody": there is no such set in table ip t`},
		{in("ip daddr { 10.0.0.1, 10.0.0.2 } limit rate 3/second"), `nftables: line 3, column 35: "limit": unknown statement, want one of accept, add, continue, counter, dnat, drop, goto, jump, masquerade, notrack, redirect, reject, return, snat, update, ct, icmp, ip, meta, sctp, tcp, th, udp, mark, iifname, oifname, fib, numgen, comment`},
		{in("numgen random mod 0 vmap { 0 : accept }"), `nftables: line 3, column 21: "0": want 1 or more`},
		{in("comment \"alone"), `nftables: line 3, column 11: a string does not end on its line`},
		{in("drop") + "}", `nftables: line 6, column 1: "}": unknown command, want one of add, create, insert, delete, destroy, flush, table`},
		{"table ip t {\n\tchain c { drop }\n}\n", `nftables: line 2, column 17: "}": want the end of the line here`},
		{"table ip t {\n\tchain c {\n\t\ttype filter hook forward priority 0\n\t\tdnat to 10.0.0.1\n\t}\n}\n", `nftables: line 4, column 3: "dnat": dnat can not be done in chain c, which c of type filter reaches`},
		{"table ip t {\n\tchain c {\n\t\ttype filter hook forward priority 0\n\t\tjump d\n\t}\n\tchain d {\n\t\tjump d\n\t}\n}\n", `nftables: line 7, column 3: "jump": chain d leads back to itself`},
		{"table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.0/8 }\n\t}\n}\n", `nftables: line 4, column 16: "10.0.0.0/8": the set holds single values: intervals want the flag interval`},
		{"table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = { 10.0.0.0/8, 10.1.0.0/16 }\n\t}\n}\n", `nftables: line 5, column 40: "}": 10.1.0.0/16 overlaps another element`},
		{"table ip t {\n\tmap m {\n\t\ttype ipv4_addr : verdict\n\t\telements = { 10.0.0.1 : goto nowhere }\n\t}\n}\n", `nftables: line 4, column 32: "nowhere": there is no such chain in table ip t`},
		{"table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n\tchain c {\n\t\ttcp dport @s drop\n\t}\n}\n", `nftables: line 6, column 13: "@s": the set is of type ipv4_addr, want inet_service`},
		{"table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n\tchain c {\n\t\tupdate @s { ip saddr }\n\t}\n}\n", `nftables: line 6, column 10: "@s": rules can add to sets with the flag dynamic only`},
		{"add rule ip t c drop\n", `nftables: line 1, column 15: "c": there is no table ip t`},
		{"flush table ip t\n", `nftables: line 1, column 7: "table": there is no table ip t`},
	}
	for _, tt := range tests {
		s, err := Parse(tt.text)
		if err == nil {
			err = New().Apply(s, 0)
		}
		var e *Error
		if !errors.As(err, &e) || e.Error() != tt.want {
			t.Errorf("%s\ngot  %v\nwant %s", tt.text, err, tt.want)
		}
	}
}
