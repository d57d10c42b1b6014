package overlay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/podwire/podwire/stack/netfilter"
)

// Rules of dockerd 29, whose integration tests print them
// (integration/network/bridge/iptablesdoc/generated). DOCKER-USER is for the
// owner of the machine. dockerd sets the FORWARD policy when it is who switches
// forwarding on, as on a machine that does nothing but run containers.
const dockerBaseRules = `*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
COMMIT
`

// load is iptables-restore --noflush on the host.
func (h *dockerHost) load(rules string) error {
	if err := h.node.Host.Netfilter().Restore(rules, netfilter.RestoreOptions{NoFlush: true}); err != nil {
		return fmt.Errorf("overlay: docker: %s: %w", h.node.Name, err)
	}
	h.node.Host.RulesChanged()
	return nil
}

// rules of a network: what comes back is let in, what leaves is let out and
// masqueraded, and what comes from elsewhere is dropped unless a rule for its
// port stands above.
func (n *dockerNetwork) rules() string {
	return fmt.Sprintf(`*filter
-A DOCKER ! -i %[1]s -o %[1]s -j DROP
-A DOCKER-BRIDGE -o %[1]s -j DOCKER
-A DOCKER-CT -o %[1]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -i %[1]s -j ACCEPT
COMMIT
*nat
-I POSTROUTING -s %[2]v ! -o %[1]s -j MASQUERADE
COMMIT
`, n.br.Name, n.subnet)
}

// containerRules adds the rules of a container with op -A, or deletes them with
// -D. In raw, what is addressed to the container itself and not to a port of
// the host is dropped if it comes from outside its network; the port rules in
// DOCKER go above the networks' DROPs.
func (h *dockerHost) containerRules(op string, c *dockerContainer) string {
	above := op
	if op == "-A" {
		above = "-I"
	}
	br, addr := c.network.br.Name, c.net.Addr
	var raw, nat, filter strings.Builder
	fmt.Fprintf(&raw, "%s PREROUTING -d %s/32 ! -i %s -j DROP\n", op, addr, br)
	accepted := make(map[string]bool) // one port of the container may be published twice
	for _, p := range c.published {
		to := ""
		if p.HostIP.IsValid() {
			to = fmt.Sprintf("-d %s/32 ", p.HostIP)
		}
		if p.HostIP.IsLoopback() {
			fmt.Fprintf(&raw, "%s PREROUTING %s! -i lo -p %s -m %[3]s --dport %d -j DROP\n", op, to, p.Proto, p.HostPort)
		}
		fmt.Fprintf(&nat, "%s DOCKER %s! -i %s -p %s -m %[4]s --dport %d -j DNAT --to-destination %s:%d\n", op, to, br, p.Proto, p.HostPort, addr, p.PodPort)
		accept := fmt.Sprintf("%s DOCKER -d %s/32 ! -i %s -o %[3]s -p %s -m %[4]s --dport %d -j ACCEPT\n", above, addr, br, p.Proto, p.PodPort)
		if !accepted[accept] {
			accepted[accept] = true
			filter.WriteString(accept)
		}
	}
	return "*raw\n" + raw.String() + "COMMIT\n*nat\n" + nat.String() + "COMMIT\n*filter\n" + filter.String() + "COMMIT\n"
}

// checkPorts refuses ports that the host cannot give to a container.
func (h *dockerHost) checkPorts(ports []HostPort) error {
	for i, p := range ports {
		if err := p.check(h.node.Host); err != nil {
			return fmt.Errorf("overlay: docker: %w", err)
		}
		if slices.ContainsFunc(ports[:i], p.Clashes) {
			return fmt.Errorf("overlay: docker: %s: Bind for %v failed: port is already allocated, to this container", h.node.Name, p)
		}
		for _, c := range h.containers {
			if slices.ContainsFunc(c.published, p.Clashes) {
				return fmt.Errorf("overlay: docker: %s: Bind for %v failed: port is already allocated, to container %s", h.node.Name, p, c.name)
			}
		}
	}
	return nil
}
