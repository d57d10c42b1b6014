package netfilter

// Reset is `nft flush ruleset`: it leaves no table, as in a namespace in which nothing was ever loaded. An
// iptables-restore of empty tables leaves the tables. Trace and Log stay.
func (r *Ruleset) Reset() {
	fresh := New()
	fresh.Trace, fresh.Log = r.Trace, r.Log
	*r = *fresh
	r.eval.r = r
}
