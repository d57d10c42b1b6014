package emu

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/stack/conntrack"
)

// RestartPod ends a pod and starts another from the same object, on a node: the
// same one if node is nil. As with a pod that a controller replaces, sockets
// are lost and the address is what the design gives now.
func (l *Lab) RestartPod(p *Pod, node *Node) (*Pod, error) {
	if p == nil {
		return nil, errNil
	}
	spec := p.Spec()
	if node != nil {
		spec.Spec.NodeName = node.name
	}
	spec.Status = corev1.PodStatus{}
	spec.ResourceVersion = ""
	if err := l.RemovePod(p); err != nil {
		return nil, err
	}
	return l.AddPodObject(spec)
}

// Crash switches a node off and takes from it what lives in memory: connection
// tracking, neighbours, and all its pods' sockets.
func (n *Node) Crash() {
	n.SetUp(false)
	l := n.lab
	for _, p := range l.Pods() {
		if p.node == n {
			p.close()
		}
	}
	l.drv.Do(func() {
		if track := n.stack.Conntrack(); track != nil {
			track.Delete(l.drv.Now(), func(*conntrack.Entry) bool { return true })
		}
	})
}

// Boot switches a node on that has crashed, and starts its pods again, each
// with the address that the design gives it now.
func (n *Node) Boot() error {
	n.SetUp(true)
	for _, p := range n.lab.Pods() {
		if p.node != n {
			continue
		}
		if _, err := n.lab.RestartPod(p, nil); err != nil {
			return fmt.Errorf("emu: %s: %w", n.name, err)
		}
	}
	return nil
}
