package topo

import (
	"fmt"
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

// ports decodes a list of 80, "53/udp", or {name, port, protocol}.
func (l *load) ports(m mapping) (ports []ContainerPort) {
	m.list("ports", "a list of ports", func(path string, n *yaml.Node) {
		var p ContainerPort
		if n.Kind == yaml.MappingNode {
			pm, _ := l.mapping(m.d, n, path, "name", "port", "protocol")
			p = ContainerPort{Name: pm.str("name").Value, Number: pm.integer("port", 1, 65535), Protocol: "TCP"}
			if proto := pm.word("protocol", []string{"TCP", "UDP", "SCTP"}); proto.IsSet() {
				p.Protocol = proto.Value
			}
			if pm.get("port") == nil {
				l.reportAt(m.d, n, Diagnostic{Rule: "missing-value", Message: path + ": no port, want one"})
			}
		} else if text, ok := l.scalar(m.d, n, path, "a port such as 80 or 53/udp"); ok {
			p = decodeText(l, m.d, n, path, text, "a port such as 80 or 53/udp", parsePort).Value
			p.Number.Pos = m.d.pos(n)
		}
		if p.Number.Value != 0 {
			ports = append(ports, p)
		}
	})
	return ports
}

func parsePort(s string) (ContainerPort, error) {
	num, proto, given := strings.Cut(s, "/")
	v, err := strconv.ParseUint(num, 10, 16)
	proto = strings.ToUpper(proto)
	if !given {
		proto = "TCP"
	}
	if err != nil || v == 0 || proto != "TCP" && proto != "UDP" && proto != "SCTP" {
		return ContainerPort{}, strconv.ErrSyntax
	}
	return ContainerPort{Number: Field[int]{Value: int(v)}, Protocol: proto}, nil
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
		for _, port := range c.Ports {
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
