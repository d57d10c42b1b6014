package topo

import "fmt"

// hostPortKey is a port of a node, whichever of its addresses it is on.
type hostPortKey struct {
	node, port int
	protocol   string
}

// placeHostPorts places the pods that want ports of their node, each where they
// are free and the fewest pods are, as the scheduler's NodePorts filter does.
// Pods on different addresses of one node are taken to clash; a pod that names
// its node is left to it.
func (l *load) placeHostPorts(index map[string]int, load []int) {
	taken := map[hostPortKey]bool{}
	each := func(p *Pod, node int, f func(hostPortKey)) {
		for _, c := range p.Containers {
			for _, port := range c.Ports {
				if port.HostPort.IsSet() {
					f(hostPortKey{node, port.HostPort.Value, port.Protocol})
				}
			}
		}
	}
	take := func(k hostPortKey) { taken[k] = true }
	for _, p := range l.sc.Pods {
		if i, ok := index[p.Node.Value]; ok {
			each(p, i, take)
		}
	}
	for _, p := range l.sc.Pods {
		wants := false
		each(p, 0, func(hostPortKey) { wants = true })
		if !wants || p.Node.IsSet() {
			continue
		}
		best := -1
		for i := range load {
			free := true
			each(p, i, func(k hostPortKey) { free = free && !taken[k] })
			if free && (best < 0 || load[i] < load[best]) {
				best = i
			}
		}
		if best < 0 {
			l.addAt(p.Name.Pos, Diagnostic{Rule: "unschedulable",
				Message: fmt.Sprintf("pod %s: no node has the ports free that it publishes", p.Name.Value),
				Effect:  fmt.Sprintf("the pod stays Pending: of %d nodes none has free ports for the requested pod ports", len(load))})
			continue
		}
		p.Node.Value = l.sc.Cluster.Nodes[best].Name.Value
		load[best]++
		each(p, best, take)
	}
}
