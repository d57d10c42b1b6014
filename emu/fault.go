package emu

// SetLink plugs the machine's cable in or pulls it: for a pod the node's end of
// its veth pair, for others the cable to the underlay. What is in flight on a
// cable is lost when it is pulled.
func (m *Machine) SetLink(up bool) {
	m.lab.drv.Do(func() {
		if m.cable != nil {
			m.cable.SetUp(up)
			return
		}
		for _, p := range m.lab.pods {
			if &p.Machine == m {
				p.net.Peer.SetUp(up)
			}
		}
	})
}

// SetUp brings all devices of a node up or down, as if the machine had been
// switched off: nothing enters or leaves it, and its pods lose their network.
// Sockets and tables stay as they are.
func (n *Node) SetUp(up bool) {
	n.lab.drv.Do(func() {
		n.cable.SetUp(up)
		for _, d := range n.stack.Devices() {
			if d.Name != "lo" {
				d.SetUp(up)
			}
		}
	})
}
