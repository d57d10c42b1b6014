package overlay

import (
	"crypto/sha512"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/podwire/podwire/stack/netfilter"
)

// portmap is the portmap plugin of one node, chained behind the plugin that
// plugs pods in: hostPort by DNAT, with rules in the nat table alone. What comes
// from the pod's own subnet or from 127.0.0.1 is masqueraded too; other clients
// keep their address.
type portmap struct {
	node    *Node
	network string // name of the CNI configuration
	pods    map[*Pod]string
	ready   bool // the chains of all pods exist
}

func newPortmap(n *Node, network string) *portmap {
	return &portmap{node: n, network: network, pods: make(map[*Pod]string)}
}

// portmapRules are the chains that all pods of a node share, as of plugins
// 1.9. POSTROUTING's is put first, ahead of what masquerades pods; a pod's own
// chain is put first too, so that the latest to want a port has it.
const portmapRules = `*nat
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-I POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
COMMIT
`

// add publishes the ports of a pod that check has let pass, at its address with
// the length of its subnet.
func (m *portmap) add(pod *Pod, addr netip.Prefix) error {
	if len(pod.HostPorts) == 0 {
		return nil
	}
	if !m.ready {
		if err := m.load(portmapRules); err != nil {
			return err
		}
		m.ready = true
	}
	rng := pod.Host.Rand("sandbox")
	id := fmt.Sprintf("%016x%016x%016x%016x", rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64())
	chain := cniChain("DN-", m.network, id)
	var b strings.Builder
	fmt.Fprintf(&b, "*nat\n:%s - [0:0]\n", chain)
	m.entries(&b, "-I", chain, id, pod)
	for _, p := range pod.HostPorts {
		match := fmt.Sprintf("-p %s -m %[1]s --dport %d", p.Proto, p.HostPort)
		if p.HostIP.IsValid() {
			match = fmt.Sprintf("-d %s/32 %s", p.HostIP, match)
		}
		fmt.Fprintf(&b, "-A %s -s %v %s -j CNI-HOSTPORT-SETMARK\n", chain, addr.Masked(), match)
		fmt.Fprintf(&b, "-A %s -s 127.0.0.1/32 %s -j CNI-HOSTPORT-SETMARK\n", chain, match)
		fmt.Fprintf(&b, "-A %s %s -j DNAT --to-destination %v:%d\n", chain, match, addr.Addr(), p.PodPort)
	}
	b.WriteString("COMMIT\n")
	m.pods[pod] = id
	return m.load(b.String())
}

// remove takes the rules of a pod away, if it has any.
func (m *portmap) remove(pod *Pod) error {
	id, ok := m.pods[pod]
	if !ok {
		return nil
	}
	delete(m.pods, pod)
	chain := cniChain("DN-", m.network, id)
	var b strings.Builder
	b.WriteString("*nat\n")
	m.entries(&b, "-D", chain, id, pod)
	fmt.Fprintf(&b, "-F %s\n-X %[1]s\nCOMMIT\n", chain)
	return m.load(b.String())
}

// maxMultiport is how many ports a multiport match takes.
const maxMultiport = 15

// entries adds or deletes the rules that lead to a pod's chain: one for each
// protocol and fifteen ports.
func (m *portmap) entries(b *strings.Builder, op, chain, id string, pod *Pod) {
	for _, proto := range []string{"tcp", "udp"} {
		var ports []string
		for _, p := range pod.HostPorts {
			if p.Proto == proto {
				ports = append(ports, fmt.Sprint(p.HostPort))
			}
		}
		for some := range slices.Chunk(ports, maxMultiport) {
			fmt.Fprintf(b, "%s CNI-HOSTPORT-DNAT -p %s -m comment --comment \"dnat name: \\\"%s\\\" id: \\\"%s\\\"\" -m multiport --dports %s -j %s\n",
				op, proto, m.network, id, strings.Join(some, ","), chain)
		}
	}
}

// check refuses ports that another pod of the node has: Kubernetes does not
// place such a pod, and kubelet does not start it.
func (m *portmap) check(pod *Pod) error {
	for i, p := range pod.HostPorts {
		if err := p.check(m.node.Host); err != nil {
			return fmt.Errorf("overlay: portmap: %w", err)
		}
		if slices.ContainsFunc(pod.HostPorts[:i], p.Clashes) {
			return fmt.Errorf("overlay: portmap: host port %v twice in one pod", p)
		}
		for o := range m.pods {
			if slices.ContainsFunc(o.HostPorts, p.Clashes) {
				return fmt.Errorf("overlay: portmap: %s: host port %v is that of pod %s", m.node.Name, p, o.Name)
			}
		}
	}
	return nil
}

func (m *portmap) load(rules string) error {
	if err := m.node.Host.Netfilter().Restore(rules, netfilter.RestoreOptions{NoFlush: true}); err != nil {
		return fmt.Errorf("overlay: portmap: %s: %w", m.node.Name, err)
	}
	m.node.Host.RulesChanged()
	return nil
}

// cniChain is the name of a chain that a CNI plugin keeps for one container:
// CNI-, a prefix and a hash, 28 bytes in all.
func cniChain(prefix, network, id string) string {
	return fmt.Sprintf("CNI-%s%x", prefix, sha512.Sum512([]byte(network+id)))[:28]
}
