package emu

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
)

// NetworkAnnotation is the annotation by which a pod chooses its network where a
// host has several: see [overlay.DockerBridge].
const NetworkAnnotation = overlay.NetworkAnnotation

// A Pod is a pod on a node. Its containers share one network namespace: its
// addresses, ports and 127.0.0.1.
type Pod struct {
	Machine
	node *Node
	plug *overlay.Pod // what the design was told
	net  overlay.PodNet
	spec *corev1.Pod

	start   func(*Pod) error // what it runs
	proxies []*userProxy     // on the node, for published ports
}

// PodConfig describes a pod in short; AddPodObject takes the whole object.
type PodConfig struct {
	Name      string
	Namespace string            // if empty, "default"
	Node      string            // if empty, the node with the fewest pods
	Labels    map[string]string // for Services to select
	Ports     []corev1.ContainerPort
}

// AddPod adds a pod with one container. A port that is listed is answered by a
// built-in workload, see [Lab.AddPodObject]; other ports are the caller's.
func (l *Lab) AddPod(cfg PodConfig) (*Pod, error) {
	return l.AddPodObject(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: cfg.Name, Namespace: cfg.Namespace, Labels: cfg.Labels},
		Spec: corev1.PodSpec{
			NodeName:   cfg.Node,
			Containers: []corev1.Container{{Name: "main", Image: "podwire", Ports: cfg.Ports}},
		},
	})
}

// AddPodObject adds a pod from its Kubernetes object. Pods need no images:
// each containerPort of each container is answered, TCP by an HTTP server, UDP
// by an echo. A hostPort is published on the node as the design does it.
func (l *Lab) AddPodObject(spec *corev1.Pod) (*Pod, error) {
	return l.startPod(spec, overlay.Pod{}, (*Pod).startWorkloads)
}

// startPod adds a pod that runs what start starts. Plug says what it asks of the
// network besides what stands in its object.
func (l *Lab) startPod(spec *corev1.Pod, plug overlay.Pod, start func(*Pod) error) (*Pod, error) {
	if spec == nil {
		return nil, errNil
	}
	p := &Pod{spec: spec.DeepCopy(), plug: &plug, start: start}
	err := l.change(func() error { return l.addPod(p) })
	if err != nil {
		return nil, err
	}
	l.drv.Sleep(0) // its gratuitous ARP has gone out
	err = start(p)
	if err == nil {
		err = p.startProxies()
	}
	if err != nil {
		return nil, errors.Join(err, l.RemovePod(p))
	}
	l.attendAgain(p)
	return p, nil
}

// addPod does what scheduler, kubelet and CNI do. The caller holds the lock.
func (l *Lab) addPod(p *Pod) error {
	s := p.spec
	if s.Namespace == "" {
		s.Namespace = metav1.NamespaceDefault
	}
	name := path.Join(s.Namespace, s.Name)
	if l.machines[name] != nil {
		return fmt.Errorf("emu: there is already a pod %q", name)
	}
	ports, err := hostPorts(s)
	if err != nil {
		return fmt.Errorf("emu: pod %s: %w", name, err)
	}
	node, err := l.schedule(s.Spec.NodeName, ports)
	if err != nil {
		return fmt.Errorf("emu: pod %s: %w", name, err)
	}
	s.Spec.NodeName = node.name
	cfg, err := l.podConfig(name, node, s)
	if err != nil {
		return fmt.Errorf("emu: pod %s: %w", name, err)
	}
	cfg.OnEcho = func(from netip.Addr) { p.notePeer("icmp", netip.AddrPortFrom(from, 0)) }
	if err := l.cluster.AddPod(s); err != nil {
		return err
	}
	p.node = node
	cfg.CPU, cfg.Container = node.cpu, true
	cfg.Life = l.lives[name]
	l.lives[name]++
	p.Machine = Machine{lab: l, name: name, stack: stack.NewHost(l.drv, cfg), pod: p}
	p.plug.Namespace, p.plug.Name, p.plug.Host = s.Namespace, s.Name, p.stack
	p.plug.Annotations, p.plug.HostPorts = s.Annotations, ports
	if p.net, err = l.cni.AddPod(&node.overlay, p.plug); err != nil {
		l.cluster.RemovePod(s.Namespace, s.Name)
		return fmt.Errorf("emu: pod %s: %w", name, err)
	}
	p.addr = p.net.Addr
	l.machines[name] = &p.Machine
	if !l.design.Standalone { // hosts without a cluster give out the same addresses
		l.addrs[p.addr] = &p.Machine
	}
	l.pods = append(l.pods, p)
	p.applyLink() // its node may be off
	l.setUp(p.stack)
	l.setUp(node.stack)
	s.Status.PodIP, s.Status.HostIP, s.Status.Phase = p.addr.String(), node.addr.String(), corev1.PodRunning
	s.Status.PodIPs = []corev1.PodIP{{IP: s.Status.PodIP}}
	return l.cluster.UpdatePod(s)
}

// hostPorts lists the ports that the pod's containers publish on the node.
func hostPorts(s *corev1.Pod) (out []overlay.HostPort, err error) {
	for _, c := range s.Spec.Containers {
		for _, port := range c.Ports {
			if port.HostPort == 0 {
				continue
			}
			p := overlay.HostPort{Proto: "tcp", HostPort: uint16(port.HostPort), PodPort: uint16(port.ContainerPort)}
			if port.Protocol != "" {
				p.Proto = strings.ToLower(string(port.Protocol))
			}
			if port.HostIP != "" {
				if p.HostIP, err = netip.ParseAddr(port.HostIP); err != nil {
					return nil, fmt.Errorf("container %s: hostIP %q of port %d, want an IP address", c.Name, port.HostIP, port.ContainerPort)
				}
			}
			if p.HostIP.IsUnspecified() {
				p.HostIP = netip.Addr{}
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// schedule finds the node of that name, or of those on which the ports are free
// the one with the fewest pods.
func (l *Lab) schedule(name string, ports []overlay.HostPort) (*Node, error) {
	if name != "" {
		for _, n := range l.nodes {
			if n.name == name {
				return n, nil
			}
		}
		return nil, fmt.Errorf("node %q does not exist", name)
	}
	if len(l.nodes) == 0 {
		return nil, fmt.Errorf("there is no node to run it on")
	}
	count := make(map[*Node]int)
	taken := make(map[*Node]bool)
	for _, p := range l.pods {
		count[p.node]++
		for _, port := range ports {
			taken[p.node] = taken[p.node] || slices.ContainsFunc(p.plug.HostPorts, port.Clashes)
		}
	}
	free := slices.DeleteFunc(slices.Clone(l.nodes), func(n *Node) bool { return taken[n] })
	if len(free) == 0 {
		return nil, fmt.Errorf("of %d nodes none has a free port for it: %v", len(l.nodes), ports)
	}
	return slices.MinFunc(free, func(a, b *Node) int { return count[a] - count[b] }), nil
}

// Node returns the node that the pod runs on.
func (p *Pod) Node() *Node { return p.node }

// Spec returns the pod's object with its status.
func (p *Pod) Spec() *corev1.Pod { return p.spec.DeepCopy() }

// Peer returns the name of the node's end of the pod's veth pair.
func (p *Pod) Peer() string { return p.net.Peer.Name }

// RemovePod ends a pod: its sockets, its veth pair, its address and endpoints.
func (l *Lab) RemovePod(p *Pod) error {
	if p == nil {
		return errNil
	}
	for _, u := range p.proxies {
		u.close()
	}
	p.close()
	return l.change(func() error {
		i := slices.Index(l.pods, p)
		if i < 0 {
			return fmt.Errorf("emu: pod %s was removed before", p.name)
		}
		l.pods = slices.Delete(l.pods, i, i+1)
		delete(l.machines, p.name)
		if l.addrs[p.addr] == &p.Machine {
			delete(l.addrs, p.addr)
		}
		if err := l.cni.RemovePod(&p.node.overlay, p.plug); err != nil {
			return err
		}
		return l.cluster.RemovePod(p.spec.Namespace, p.spec.Name)
	})
}
