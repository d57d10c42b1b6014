package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// DockerBridge is plain docker on every node, without Kubernetes, as dockerd 29
// sets it up with its defaults: the userland proxy, containers of one network
// reach each other, iptables. A pod is a container. It hangs on docker0, or on
// the bridge of the user network that its annotation [NetworkAnnotation] names.
// What the node forwards is masqueraded, published ports are translated, and
// other networks and other hosts are out of reach: every host gives out the
// same addresses. There is no DNS server at 127.0.0.11, no internal network and
// no --icc=false.
var DockerBridge = Design{
	Name:       "docker-bridge",
	Summary:    "plain docker on each host: docker0 and user networks, published ports, no way between containers of two hosts",
	Standalone: true,
	New: func(Network) CNI {
		return &docker{hosts: make(map[*Node]*dockerHost)}
	},
}

// NetworkAnnotation is the annotation by which a pod of docker-bridge asks for
// a user network, as `docker run --network NAME` does. The network is made on
// the node with the first container that wants it. Without the annotation, or
// with the value "bridge", the container is on docker0.
const NetworkAnnotation = "podwire.io/network"

const (
	dockerMTU     = 1500 // whatever the underlay's is
	defaultBridge = "bridge"

	// Gratuitous ARPs when a container starts (libnetwork's advertise-addr).
	advertiseTimes    = 3
	advertiseInterval = time.Second
)

type docker struct {
	hosts map[*Node]*dockerHost
}

// dockerHost is one dockerd.
type dockerHost struct {
	node       *Node
	networks   []*dockerNetwork // docker0 first
	containers map[*stack.Host]*dockerContainer
}

// dockerNetwork is a bridge and its subnet.
type dockerNetwork struct {
	name    string
	br      *stack.Device
	subnet  netip.Prefix
	gateway netip.Addr
	used    map[netip.Addr]bool
}

type dockerContainer struct {
	name      string
	network   *dockerNetwork
	net       PodNet
	port      *link.BridgePort
	published []HostPort
}

// AddNode implements CNI: dockerd starts.
func (d *docker) AddNode(n *Node) error {
	h := &dockerHost{node: n, containers: make(map[*stack.Host]*dockerContainer)}
	if err := h.load(dockerBaseRules); err != nil {
		return err
	}
	if _, err := h.createNetwork(defaultBridge, "docker0"); err != nil {
		return err
	}
	d.hosts[n] = h
	return nil
}

// host returns a node's dockerd.
func (d *docker) host(n *Node) (*dockerHost, error) {
	if h := d.hosts[n]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("overlay: docker: node %s was not added", n.Name)
}

// SetLease implements CNI. No host knows of another.
func (d *docker) SetLease(n *Node, _ bool) error {
	return fmt.Errorf("overlay: docker: %s has no lease: docker hosts do not know of each other", n.Name)
}

// RemoveNode implements CNI.
func (d *docker) RemoveNode(n *Node) error {
	_, err := d.host(n)
	delete(d.hosts, n)
	return err
}

// AddPod implements CNI: `docker run`.
func (d *docker) AddPod(n *Node, pod *Pod) (PodNet, error) {
	h, err := d.host(n)
	if err != nil {
		return PodNet{}, err
	}
	if err := h.checkPorts(pod.HostPorts); err != nil {
		return PodNet{}, err
	}
	network, err := h.network(pod.Annotations[NetworkAnnotation])
	if err != nil {
		return PodNet{}, err
	}
	c, err := h.run(network, pod)
	if err != nil {
		return PodNet{}, err
	}
	h.containers[pod.Host] = c
	for _, p := range c.published {
		c.net.Proxies = append(c.net.Proxies, Proxy{
			Proto: p.Proto, Listen: netip.AddrPortFrom(p.listenIP(), p.HostPort), Dial: netip.AddrPortFrom(c.net.Addr, p.PodPort),
		})
	}
	return c.net, nil
}

// RemovePod implements CNI: `docker rm -f`. The network stays.
func (d *docker) RemovePod(n *Node, pod *Pod) error {
	h, err := d.host(n)
	if err != nil {
		return err
	}
	c := h.containers[pod.Host]
	if c == nil {
		return fmt.Errorf("overlay: docker: %s has no container %s", n.Name, pod.Name)
	}
	delete(h.containers, pod.Host)
	delete(c.network.used, c.net.Addr)
	c.network.br.Bridge().RemovePort(c.port)
	c.net.Device.SetUp(false)
	return errors.Join(h.load(h.containerRules("-D", c)), n.Host.RemoveDevice(c.net.Peer))
}

// run plugs a container in and publishes its ports.
func (h *dockerHost) run(network *dockerNetwork, pod *Pod) (*dockerContainer, error) {
	addr, err := network.next(pod.Addr)
	if err != nil {
		return nil, fmt.Errorf("overlay: docker: %s: %w", h.node.Name, err)
	}
	c := &dockerContainer{name: pod.Name, network: network, published: pod.HostPorts}
	rng := pod.Host.Rand("veth")
	name := fmt.Sprintf("veth%07x", rng.Uint32()>>4)
	inside, outside := pod.Host.Driver().NewVeth(pod.Host.Name()+"/eth0", h.node.Host.Name()+"/"+name)
	if c.net.Peer, c.port, err = h.node.Host.AddBridgePort(network.br, name, link.LocalMAC(rng.Uint64()), dockerMTU, outside); err != nil {
		return nil, err
	}
	eth0, err := pod.Host.AddEthernet("eth0", pod.mac(rng.Uint64()), dockerMTU, inside)
	if err != nil {
		return nil, err
	}
	if err := eth0.AddAddr(netip.PrefixFrom(addr, network.subnet.Bits())); err != nil {
		return nil, err
	}
	if err := pod.Host.AddRoute(stack.Route{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: network.gateway, Dev: eth0}); err != nil {
		return nil, err
	}
	c.net.Addr, c.net.Device = addr, eth0
	network.used[addr] = true
	if err := h.load(h.containerRules("-A", c)); err != nil {
		return nil, err
	}
	advertise(eth0)
	return c, nil
}

// advertise has a device announce its address three times, a second apart.
func advertise(d *stack.Device) {
	drv := d.Host().Driver()
	drv.Soon(d.Announce)
	source := drv.NewSource()
	for i := 1; i < advertiseTimes; i++ {
		drv.AfterFunc(source, time.Duration(i)*advertiseInterval, d.Announce)
	}
}

// networkName is what docker accepts as the name of a network.
var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// network returns the network of that name, making it if need be.
func (h *dockerHost) network(name string) (*dockerNetwork, error) {
	if name == "" {
		name = defaultBridge
	}
	for _, n := range h.networks {
		if n.name == name {
			return n, nil
		}
	}
	switch {
	case name == "host" || name == "none":
		return nil, fmt.Errorf("overlay: docker: annotation %s: docker's network %q is not emulated, want the name of a bridge network", NetworkAnnotation, name)
	case !networkName.MatchString(name):
		return nil, fmt.Errorf("overlay: docker: annotation %s: %q is no name of a network, want two or more letters, digits and . _ -, the first a letter or digit",
			NetworkAnnotation, name)
	}
	id := h.node.Host.Rand("docker network " + name).Uint64()
	return h.createNetwork(name, fmt.Sprintf("br-%012x", id>>16))
}

// createNetwork is `docker network create NAME`.
func (h *dockerHost) createNetwork(name, bridge string) (*dockerNetwork, error) {
	subnet, err := h.freePool()
	if err != nil {
		return nil, err
	}
	host := h.node.Host
	n := &dockerNetwork{name: name, subnet: subnet, gateway: subnet.Addr().Next(), used: make(map[netip.Addr]bool)}
	if n.br, err = host.AddBridge(bridge, link.LocalMAC(host.Rand(bridge).Uint64()), dockerMTU); err != nil {
		return nil, err
	}
	if err := n.br.AddAddr(netip.PrefixFrom(n.gateway, subnet.Bits())); err != nil {
		return nil, err
	}
	h.networks = append(h.networks, n)
	return n, h.load(n.rules())
}

// defaultPools are dockerd's default-address-pools for local networks.
var defaultPools = []struct {
	base netip.Prefix
	size int
}{
	{netip.MustParsePrefix("172.17.0.0/16"), 16},
	{netip.MustParsePrefix("172.18.0.0/16"), 16},
	{netip.MustParsePrefix("172.19.0.0/16"), 16},
	{netip.MustParsePrefix("172.20.0.0/14"), 16},
	{netip.MustParsePrefix("172.24.0.0/14"), 16},
	{netip.MustParsePrefix("172.28.0.0/14"), 16},
	{netip.MustParsePrefix("192.168.0.0/16"), 20},
}

// freePool returns the first default subnet that no route of the host leads to,
// be it that of another network or the underlay's.
func (h *dockerHost) freePool() (netip.Prefix, error) {
	for _, pool := range defaultPools {
		for p := netip.PrefixFrom(pool.base.Addr(), pool.size); pool.base.Overlaps(p); p = netip.PrefixFrom(stack.LastAddr(p).Next(), pool.size) {
			if !h.routed(p) {
				return p, nil
			}
		}
	}
	return netip.Prefix{}, fmt.Errorf("overlay: docker: %s: all predefined address pools have been fully subnetted: %d networks", h.node.Name, len(h.networks))
}

func (h *dockerHost) routed(p netip.Prefix) bool {
	for _, r := range h.node.Host.Routes() {
		if r.Dst.Bits() > 0 && r.Dst.Overlaps(p) {
			return true
		}
	}
	return false
}

// next returns the lowest address that no container has, or the one that is
// asked for (`docker run --ip`).
func (n *dockerNetwork) next(asked netip.Addr) (netip.Addr, error) {
	last := stack.LastAddr(n.subnet)
	switch {
	case !asked.IsValid():
	case !n.subnet.Contains(asked) || asked == n.subnet.Addr() || asked == n.gateway || asked == last:
		return netip.Addr{}, fmt.Errorf("network %s: %v is no container's address in %v", n.name, asked, n.subnet)
	case n.used[asked]:
		return netip.Addr{}, fmt.Errorf("network %s: address %v is already in use", n.name, asked)
	default:
		return asked, nil
	}
	for a := n.gateway.Next(); a != last; a = a.Next() {
		if !n.used[a] {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("network %s: no available IPv4 addresses in %v", n.name, n.subnet)
}
