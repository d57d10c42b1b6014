// Package netfilter is the rule engine of Linux netfilter in the shape of iptables: tables, chains and rules as
// data, read and written as iptables text.
//
//	r := netfilter.New()
//	err := r.Restore("*nat\n-A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully\nCOMMIT\n",
//		netfilter.RestoreOptions{})
//	v := r.Run(netfilter.NAT, netfilter.Postrouting, &packet, env)
//	fmt.Println(v)        // nat POSTROUTING: MASQUERADE
//	fmt.Print(r.Save())   // what iptables-save prints
//
// The text is the programming interface: [Ruleset.Restore] takes what iptables-restore takes, [Ruleset.Exec] what
// iptables takes, and [Ruleset.Save] prints what iptables-save prints, in the canonical wording of iptables 1.8 with
// the nf_tables back end. A [Script] is parsed text; it can be applied to any number of rulesets, which then share
// one copy of the rules and of their index.
//
// The package is pure. It reads no clock and no packet bytes and starts no goroutines: the caller fills a [Packet]
// once per hook and answers questions about addresses, time and randomness through [Env]. As in Linux, the nat table
// is meant to be asked only about the first packet of a connection; that, and carrying out verdicts, is the
// caller's business.
//
// A Ruleset is not safe for concurrent use. Scripts and Rules are immutable and may be shared freely.
package netfilter
