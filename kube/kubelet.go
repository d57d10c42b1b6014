package kube

// KubeletRules returns the rules that kubelet keeps on every node whatever the
// mode of kube-proxy, as a text for iptables-restore --noflush to load once.
// kube-proxy in iptables mode writes them too.
func KubeletRules() string {
	var b lines
	for _, table := range []string{"mangle", "nat", "filter"} {
		b.add("*" + table)
		b.chain("KUBE-KUBELET-CANARY")
		if table == "filter" {
			b.chain("KUBE-FIREWALL")
			for _, from := range []string{"INPUT", "OUTPUT"} {
				b.add("-I", from, "-j KUBE-FIREWALL")
			}
			b.add(martianRule)
		}
		b.add("COMMIT")
	}
	return string(b)
}
