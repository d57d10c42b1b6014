// Package nftables is the rule engine of Linux nf_tables as far as a Kubernetes node needs it: tables, chains, sets and
// maps as data, read as nft -f reads them and printed as nft list ruleset prints them.
//
//	s, err := nftables.Parse(text)         // a dump, or commands
//	r := nftables.New()
//	err = r.Apply(s)
//	for _, c := range r.Chains(netfilter.Prerouting) {
//		v := r.Run(c, &packet, env)        // set and map lookups cost the same however large they are
//	}
//	fmt.Print(r.List())
//
// The language is the part that kube-proxy's nftables mode writes, with its neighbours: matches on ip, tcp, udp, th,
// icmp, meta, ct and fib, concatenations, sets, intervals, maps and verdict maps, numgen, counters, marks, dynamic sets
// with timeouts, reject and NAT. A word that is not known is an error with line, column and the nearest word: nothing is
// skipped in silence, except that tables of the families ip6, arp, bridge and netdev are left out, since nothing here is
// IPv6 or below IP. Text follows nft 1.0.6.
//
// The package is pure, as package netfilter is, whose view of a packet and whose verdicts it shares: it reads no clock
// and no packet bytes but those it is shown, and asks the host through netfilter.Env. Scripts and what they define are
// immutable and may be shared; a Ruleset is not safe for concurrent use.
package nftables
