package topo

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// decodePod reads one pod of the shorthand list.
func (l *load) decodePod(d *document, path string, n *yaml.Node) {
	m, ok := l.mapping(d, n, path, "name", "namespace", "node", "labels", "annotations", "ports", "containers", "sysctls")
	if !ok {
		return
	}
	p := &Pod{
		Namespace:   "default",
		Name:        l.name(m),
		Node:        m.str("node"),
		Labels:      l.labels(m, "labels"),
		Annotations: l.labels(m, "annotations"),
		Sysctls:     l.sysctls(m),
	}
	if ns := decode(m, "namespace", "a namespace", parseName); ns.IsSet() {
		p.Namespace = ns.Value
	}
	m.list("containers", "a list of {name, ports}", func(path string, n *yaml.Node) {
		if m, ok := l.mapping(d, n, path, "name", "ports"); ok {
			p.Containers = append(p.Containers, Container{Name: l.name(m), Ports: l.ports(m)})
		}
	})
	ports := l.ports(m)
	switch {
	case len(p.Containers) == 0:
		// kubectl run names the one container after its pod
		p.Containers = []Container{{Name: Field[string]{Value: p.Name.Value}, Ports: ports}}
	case len(ports) > 0:
		l.reportAt(d, m.get("ports"), Diagnostic{Rule: "ambiguous", Message: path + ": has ports and containers, want the ports under a container"})
	}
	l.checkContainers(p)
	l.sc.Pods = append(l.sc.Pods, p)
}

const wantPort = "a port such as 80, 53/udp or 8080:80"

// ports decodes a list of 80, "53/udp", "8080:80", or {name, port, protocol,
// hostPort, hostIP}.
func (l *load) ports(m mapping) (ports []ContainerPort) {
	m.list("ports", "a list of ports", func(path string, n *yaml.Node) {
		var p ContainerPort
		if n.Kind == yaml.MappingNode {
			pm, _ := l.mapping(m.d, n, path, "name", "port", "protocol", "hostPort", "hostIP")
			p = ContainerPort{
				Name: pm.str("name").Value, Number: pm.integer("port", 1, 65535), Protocol: "TCP",
				HostPort: pm.integer("hostPort", 1, 65535), HostIP: pm.addr("hostIP"),
			}
			if proto := pm.word("protocol", []string{"TCP", "UDP", "SCTP"}); proto.IsSet() {
				p.Protocol = proto.Value
			}
			if pm.get("port") == nil {
				l.reportAt(m.d, n, Diagnostic{Rule: "missing-value", Message: path + ": no port, want one"})
			}
		} else if text, ok := l.scalar(m.d, n, path, wantPort); ok {
			p = decodeText(l, m.d, n, path, text, wantPort, parsePort).Value
			p.setPos(m.d.pos(n))
		}
		if p.HostIP.IsSet() && !p.HostPort.IsSet() {
			l.addAt(p.HostIP.Pos, Diagnostic{Rule: "missing-value", Message: path + ": hostIP without hostPort, want both or none"})
		}
		if p.Number.Value != 0 {
			ports = append(ports, p)
		}
	})
	return ports
}

// setPos gives all parts of a port that was written in one word one place.
func (p *ContainerPort) setPos(pos Pos) {
	p.Number.Pos = pos
	if p.HostPort.Value != 0 {
		p.HostPort.Pos = pos
	}
	if p.HostIP.Value.IsValid() {
		p.HostIP.Pos = pos
	}
}

// parsePort reads a port as `docker run -p` has it:
// [[hostIP:]hostPort:]port[/protocol].
func parsePort(s string) (p ContainerPort, err error) {
	s, proto, given := strings.Cut(s, "/")
	if p.Protocol = strings.ToUpper(proto); !given {
		p.Protocol = "TCP"
	}
	if p.Protocol != "TCP" && p.Protocol != "UDP" && p.Protocol != "SCTP" {
		return ContainerPort{}, strconv.ErrSyntax
	}
	parts := strings.Split(s, ":")
	for i, number := range []*int{&p.Number.Value, &p.HostPort.Value} {
		if i == len(parts) {
			return p, nil
		}
		v, err := strconv.ParseUint(parts[len(parts)-1-i], 10, 16)
		if err != nil || v == 0 {
			return ContainerPort{}, strconv.ErrSyntax
		}
		*number = int(v)
	}
	if len(parts) == 2 {
		return p, nil
	}
	if p.HostIP.Value, err = netip.ParseAddr(parts[0]); err != nil || len(parts) > 3 {
		return ContainerPort{}, strconv.ErrSyntax
	}
	return p, nil
}

// checkContainers finds containers of one pod that share a name, or listen on
// one port: they share the pod's network namespace, so the second could not
// bind.
func (l *load) checkContainers(p *Pod) {
	names, ports := map[string]Pos{}, map[string]string{}
	for _, c := range p.Containers {
		if at, dup := names[c.Name.Value]; dup && c.Name.IsSet() {
			l.addAt(c.Name.Pos, Diagnostic{Rule: "duplicate-name",
				Message: fmt.Sprintf("container %s is declared twice, first on line %d", quoted(c.Name.Value), at.Line)})
		}
		names[c.Name.Value] = c.Name.Pos
		for i, port := range c.Ports {
			if port.published(c.Ports[:i]) {
				continue
			}
			key := fmt.Sprintf("%d/%s", port.Number.Value, port.Protocol)
			if other, dup := ports[key]; dup {
				l.addAt(port.Number.Pos, Diagnostic{
					Severity: Warning, Rule: "port-conflict",
					Message: fmt.Sprintf("containers %s and %s of pod %s both declare port %s", other, c.Name.Value, p.Name.Value, key),
					Effect:  "containers of a pod share one network namespace: the second bind fails with EADDRINUSE",
				})
			}
			ports[key] = c.Name.Value
		}
	}
}

// published reports whether a port stands in a list already, and now has another
// port of the node: it is one socket with two ways to it.
func (p ContainerPort) published(before []ContainerPort) bool {
	return p.HostPort.IsSet() && slices.ContainsFunc(before, func(o ContainerPort) bool {
		return o.Number.Value == p.Number.Value && o.Protocol == p.Protocol
	})
}
