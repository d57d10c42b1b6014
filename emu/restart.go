package emu

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/conntrack"
)

// RestartPod ends a pod and starts another from the same object, on a node: the
// same one if node is nil. As with a pod that a controller replaces, sockets
// are lost, and address and MAC are what the design gives now.
func (l *Lab) RestartPod(p *Pod, node *Node) (*Pod, error) {
	return l.MovePod(p, MoveConfig{Node: node})
}

// MoveConfig says where, and as whom, a pod starts again.
type MoveConfig struct {
	Node *Node // nil for the one it is on

	// KeepAddr has it ask for the address that it had. A design whose nodes have
	// ranges of their own, such as flannel's, can do that on the same node only;
	// Calico routes the address to the new node.
	KeepAddr bool

	// KeepMAC gives it the MAC that it had, as a virtual machine has that is moved
	// while it runs. Without, others must learn that the address has another.
	KeepMAC bool
}

// MovePod is RestartPod with a choice of what the pod keeps. If it cannot have
// the address that it had, it is started as any other pod, and the error says so.
func (l *Lab) MovePod(p *Pod, cfg MoveConfig) (*Pod, error) {
	if p == nil {
		return nil, errNil
	}
	var plug overlay.Pod
	if cfg.KeepAddr {
		plug.Addr = p.addr
	}
	if cfg.KeepMAC && p.net.Device != nil {
		plug.MAC = p.net.Device.MAC
	}
	if err := l.RemovePod(p); err != nil {
		return nil, err
	}
	moved, err := l.startAgain(p, cfg.Node, plug)
	if err == nil || !cfg.KeepAddr {
		return moved, err
	}
	moved, again := l.startAgain(p, cfg.Node, overlay.Pod{})
	return moved, errors.Join(err, again)
}

// StartAgain starts a pod that was removed: another one from the same object,
// which runs what the first has run, on the same node.
func (l *Lab) StartAgain(p *Pod) (*Pod, error) {
	if p == nil {
		return nil, errNil
	}
	return l.startAgain(p, nil, overlay.Pod{})
}

func (l *Lab) startAgain(p *Pod, node *Node, plug overlay.Pod) (*Pod, error) {
	spec := p.Spec()
	if node != nil {
		spec.Spec.NodeName = node.name
	}
	spec.Status = corev1.PodStatus{}
	spec.ResourceVersion = ""
	return l.startPod(spec, plug, p.start)
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
		if s, err := l.speaking(); err == nil {
			s.LoseSpeaker(&n.overlay)
		}
		n.endBirds()
		if track := n.stack.Conntrack(); track != nil {
			track.Delete(l.drv.Now(), func(*conntrack.Entry) bool { return true })
		}
		for _, e := range n.stack.Neighbours() {
			if e.State != stack.NeighPermanent { // those of the design are programmed again at boot
				n.stack.RemoveNeighbour(n.stack.Device(e.Dev), e.Addr)
			}
		}
	})
}

// Boot switches a node on that has crashed, and starts its pods again, each
// with the address that the design gives it now.
func (n *Node) Boot() error {
	n.SetUp(true)
	if s, err := n.lab.speaking(); err == nil {
		n.lab.drv.Do(func() {
			if n.Speaker() == nil && s.Speaker(&n.overlay) == nil {
				err = s.StartSpeaker(&n.overlay)
			}
		})
		if err != nil {
			return err
		}
	}
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
