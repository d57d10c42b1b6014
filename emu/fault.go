package emu

// SetLink plugs the machine's cable in or pulls it: for a pod the node's end of
// its veth pair, for others the cable to the underlay, for a router all cables. What is in flight on a
// cable is lost when it is pulled.
func (m *Machine) SetLink(up bool) {
	m.lab.drv.Do(func() {
		m.unplugged = !up
		m.applyLink()
		m.reachabilityChanged()
	})
}

// LinkUp reports whether the machine's cable is plugged in and its node, if it
// has one, switched on.
func (m *Machine) LinkUp() bool {
	up := false
	m.lab.drv.Do(func() {
		up = !m.unplugged && !m.off && (m.pod == nil || !m.pod.node.off)
	})
	return up
}

// applyLink brings the machine's link to the state that its cable and, for a
// pod, its node give it. The caller holds the lock.
func (m *Machine) applyLink() {
	for _, p := range m.plugs {
		p.cable.SetUp(!m.unplugged && !m.off && !p.segment.off)
	}
	if p := m.pod; p != nil {
		p.net.Peer.SetUp(!m.unplugged && !p.node.off)
	}
}

// SetUp switches a node off or on: off, nothing enters or leaves it, and its
// pods lose their network. Cables that were pulled stay pulled. Sockets and
// tables stay as they are.
func (n *Node) SetUp(up bool) {
	n.lab.drv.Do(func() {
		n.off = !up
		n.applyLink()
		for _, d := range n.stack.Devices() {
			if d.Name != "lo" {
				d.SetUp(up)
			}
		}
		for _, p := range n.lab.pods {
			if p.node == n {
				p.applyLink()
			}
		}
		n.reachabilityChanged()
	})
}
