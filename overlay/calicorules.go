package overlay

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"

	"github.com/podwire/podwire/stack/netfilter"
)

// calicoTunnelRules are what one kind of tunnel adds to Felix' rules.
type calicoTunnelRules struct {
	set           string // ipset of the hosts that may send: "cali40all-vxlan-net"
	setType       string
	input, output string // rules of cali-INPUT and cali-OUTPUT
	device        string // masqueraded when the host itself sends by it
}

// calicoBaseRules are Felix' static chains (rules/static.go of Calico 3.3x) as
// far as they do anything without host endpoints and floating IPs, and without
// the hashes that Felix puts into comments. Mark 0x10000 is "accepted by
// policy", 0x40000 "from a workload".
const calicoBaseRules = `*raw
:cali-PREROUTING - [0:0]
:cali-rpf-skip - [0:0]
-I PREROUTING -j cali-PREROUTING
-A cali-PREROUTING -j MARK --set-xmark 0x0/0xf0000
-A cali-PREROUTING -i cali+ -j MARK --set-xmark 0x40000/0x40000
-A cali-PREROUTING -m mark --mark 0x40000/0x40000 -j cali-rpf-skip
-A cali-PREROUTING -m mark --mark 0x40000/0x40000 -m rpfilter --validmark --invert -j DROP
COMMIT
*nat
:cali-POSTROUTING - [0:0]
:cali-nat-outgoing - [0:0]
-I POSTROUTING -j cali-POSTROUTING
-A cali-POSTROUTING -j cali-nat-outgoing
%[1]s-A cali-nat-outgoing -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully
COMMIT
*filter
:cali-FORWARD - [0:0]
:cali-INPUT - [0:0]
:cali-OUTPUT - [0:0]
:cali-from-wl-dispatch - [0:0]
:cali-to-wl-dispatch - [0:0]
:cali-wl-to-host - [0:0]
-I INPUT -j cali-INPUT
-I FORWARD -j cali-FORWARD
-I OUTPUT -j cali-OUTPUT
-A FORWARD -m comment --comment "Policy explicitly accepted packet." -m mark --mark 0x10000/0x10000 -j ACCEPT
-A FORWARD -j MARK --set-xmark 0x10000/0x10000
-A cali-FORWARD -j MARK --set-xmark 0x0/0xe0000
-A cali-FORWARD -i cali+ -j cali-from-wl-dispatch
-A cali-FORWARD -o cali+ -j cali-to-wl-dispatch
%[2]s-A cali-INPUT -i cali+ -g cali-wl-to-host
-A cali-INPUT -m mark --mark 0x10000/0x10000 -j ACCEPT
-A cali-OUTPUT -m mark --mark 0x10000/0x10000 -j ACCEPT
-A cali-OUTPUT -o cali+ -j RETURN
%[3]s-A cali-from-wl-dispatch -m comment --comment "Unknown interface" -j DROP
-A cali-to-wl-dispatch -m comment --comment "Unknown interface" -j DROP
-A cali-wl-to-host -j cali-from-wl-dispatch
-A cali-wl-to-host -m comment --comment "Configured DefaultEndpointToHostAction" -j ACCEPT
COMMIT
`

// loadBase makes the sets and the static chains. What leaves the pool for
// anywhere else is masqueraded (natOutgoing).
func (n *calicoNode) loadBase(pool netip.Prefix) error {
	var t calicoTunnelRules
	sets := fmt.Sprintf(`create cali40all-ipam-pools hash:net
create cali40masq-ipam-pools hash:net
add cali40all-ipam-pools %[1]v
add cali40masq-ipam-pools %[1]v
`, pool)
	masquerade := ""
	if n.tunnel != nil {
		t = n.tunnel.rules()
		sets += fmt.Sprintf("create %s %s\n", t.set, t.setType)
		masquerade = fmt.Sprintf("-A cali-POSTROUTING -o %s -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL -j MASQUERADE --random-fully\n", t.device)
	}
	if err := n.Host.Netfilter().RestoreSets(sets); err != nil {
		return fmt.Errorf("overlay: calico: %s: %w", n.Name, err)
	}
	return n.load(fmt.Sprintf(calicoBaseRules, masquerade, t.input, t.output))
}

// allow adds another node to those that may send through the tunnel, or, with
// verb del, takes it away.
func (n *calicoNode) allow(o *calicoNode, verb string) error {
	return n.Host.Netfilter().RestoreSets(fmt.Sprintf("%s %s %v\n", verb, n.tunnel.rules().set, o.Addr))
}

func (n *calicoNode) load(rules string) error {
	if err := n.Host.Netfilter().Restore(rules, netfilter.RestoreOptions{NoFlush: true}); err != nil {
		return fmt.Errorf("overlay: calico: %s: %w", n.Name, err)
	}
	n.Host.RulesChanged()
	return nil
}

// limitedChain is a chain's name, of which iptables takes 28 bytes; the end of a
// longer one is replaced by a hash.
func limitedChain(prefix, name string) string {
	if len(prefix)+len(name) <= 28 {
		return prefix + name
	}
	sum := sha256.Sum224([]byte(name))
	return (prefix + "_" + base64.RawURLEncoding.EncodeToString(sum[:]))[:28]
}

// loadPod makes the chains of a pod: what it sends (cali-fw) and what is sent
// to it (cali-tw). No policy selects it, so the profile of its namespace
// decides, which allows everything.
func (n *calicoNode) loadPod(pod *Pod, p calicoPod) error {
	if err := n.loadProfile(p.namespace); err != nil {
		return err
	}
	iface := p.net.Peer.Name
	var b strings.Builder
	fmt.Fprintf(&b, `*filter
:cali-fw-%[1]s - [0:0]
:cali-tw-%[1]s - [0:0]
-I cali-from-wl-dispatch -i %[1]s -g cali-fw-%[1]s
-I cali-to-wl-dispatch -o %[1]s -g cali-tw-%[1]s
`, iface)
	for _, dir := range []struct{ chain, profile, extra string }{
		{"cali-fw-" + iface, limitedChain("cali-pro-", "kns."+p.namespace), `-A cali-fw-%[1]s -p udp -m comment --comment "Drop VXLAN encapped packets originating in workloads" -m multiport --dports 4789 -j DROP
-A cali-fw-%[1]s -p ipencap -m comment --comment "Drop IPinIP encapped packets originating in workloads" -j DROP
`},
		{"cali-tw-" + iface, limitedChain("cali-pri-", "kns."+p.namespace), ""},
	} {
		fmt.Fprintf(&b, `-A %[1]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A %[1]s -m conntrack --ctstate INVALID -j DROP
-A %[1]s -j MARK --set-xmark 0x0/0x10000
`, dir.chain)
		if dir.extra != "" {
			fmt.Fprintf(&b, dir.extra, iface)
		}
		fmt.Fprintf(&b, `-A %[1]s -j %[2]s
-A %[1]s -m comment --comment "Return if profile accepted" -m mark --mark 0x10000/0x10000 -j RETURN
-A %[1]s -m comment --comment "Drop if no profiles matched" -j DROP
`, dir.chain, dir.profile)
	}
	b.WriteString("COMMIT\n")
	return n.load(b.String())
}

// loadProfile makes the chains of a namespace's profile with its first pod.
func (n *calicoNode) loadProfile(namespace string) error {
	if n.profiles[namespace] {
		return nil
	}
	n.profiles[namespace] = true
	var b strings.Builder
	b.WriteString("*filter\n")
	for _, dir := range []struct{ prefix, way string }{{"cali-pri-", "ingress"}, {"cali-pro-", "egress"}} {
		chain := limitedChain(dir.prefix, "kns."+namespace)
		fmt.Fprintf(&b, ":%[1]s - [0:0]\n-A %[1]s -m comment --comment \"Profile kns.%[2]s %[3]s\" -j MARK --set-xmark 0x10000/0x10000\n-A %[1]s -m mark --mark 0x10000/0x10000 -j RETURN\n", chain, namespace, dir.way)
	}
	b.WriteString("COMMIT\n")
	return n.load(b.String())
}

// unloadPod deletes the chains of a pod. Those of its namespace stay.
func (n *calicoNode) unloadPod(p calicoPod) error {
	return n.load(fmt.Sprintf(`*filter
-D cali-from-wl-dispatch -i %[1]s -g cali-fw-%[1]s
-D cali-to-wl-dispatch -o %[1]s -g cali-tw-%[1]s
-F cali-fw-%[1]s
-X cali-fw-%[1]s
-F cali-tw-%[1]s
-X cali-tw-%[1]s
COMMIT
`, p.net.Peer.Name))
}
