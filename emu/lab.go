package emu

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/conntrack"
)

// Config describes a lab. The zero value is a lab of no nodes, flannel's VXLAN
// design, ideal cables and real time.
type Config struct {
	// Seed is where every random choice begins: the same seed gives the same
	// packets. Zero is a seed like any other.
	Seed uint64

	// Design is the pod network's design. If empty, "flannel-vxlan".
	Design string

	// Nodes is how many nodes the lab starts with: node1, node2, and so on.
	Nodes int

	// PodCIDR is the cluster CIDR. If zero, 10.244.0.0/16. Node N gets the Nth
	// /24 of it unless its configuration says otherwise. Docker-bridge has no use
	// for it, and none for ServiceCIDR.
	PodCIDR netip.Prefix

	// ServiceCIDR is the range of cluster IPs. If zero, 10.96.0.0/12.
	ServiceCIDR netip.Prefix

	// Underlay is the network between nodes.
	Underlay Underlay

	// VethLatency is how long a frame takes from one end of a pod's veth pair to
	// the other. Zero is an ideal pair; Linux takes a few microseconds, which
	// matters where two programs on one node act at nearly the same moment.
	VethLatency time.Duration

	// Sysctls are kernel parameters of the nodes, by name as sysctl(8) has it;
	// see stack.Sysctls. What they do not name is as on a node of a real cluster:
	// forwarding and bridge-nf-call-iptables are on. Pods have those that a new
	// network namespace inherits, and their own spec.securityContext.sysctls.
	Sysctls map[string]string

	// DNS runs the cluster's DNS: two pods coredns-1 and coredns-2 in namespace
	// kube-system behind the Service kube-dns with the tenth address of the
	// ServiceCIDR. Pods then look names up as programs in containers do, with
	// packets: see [Lab.AddDNS], which a lab can be given at any time. With it comes
	// the Service default/kubernetes. If false, names are known without a packet.
	DNS bool

	// Proxy is the mode in which Services are served, one of [ProxyModes]. If empty,
	// [ProxyIPTables].
	Proxy string

	// ConntrackRace has the nodes process packets that come in one instant at once,
	// as on several CPUs, which two datagrams of one socket can lose against each
	// other: "drop" as Linux 5.0 to 5.6 drops the second if it was sent to another
	// endpoint, "resolve" as kernels since then let it pass. If empty, packets come
	// one after another. See conntrack.Race.
	ConntrackRace string

	// IPVSScheduler is how IPVS chooses endpoints, one of [IPVSSchedulers]; for
	// [ProxyIPVS] only. If empty, "rr": one after the other.
	IPVSScheduler string

	// StrictARP keeps nodes in mode [ProxyIPVS] from answering ARP requests for
	// addresses of Services, which every node has (--ipvs-strict-arp). A load
	// balancer that announces addresses itself needs it.
	StrictARP bool

	// LoadBalancers is the pool of addresses for Services of type LoadBalancer, a
	// range within the underlay. One node answers ARP requests for each address and
	// announces it, as MetalLB does in L2 mode; should it fail, another takes over
	// after ten seconds. A range that is in no segment is announced by routes: every
	// router has one to a node, and another one 90 seconds after that has failed. If
	// zero, there is no load balancer, and such Services wait for an address.
	LoadBalancers netip.Prefix

	// ProxySyncDelay is how long after a change of Services or endpoints the
	// proxies of all nodes act on it, for all changes in that time together. On a
	// real cluster this is the way through endpoint slices and API server, and
	// kube-proxy's --iptables-min-sync-period of 1 s. If zero, rules are in place
	// before the next packet.
	ProxySyncDelay time.Duration

	// BGP is for designs that speak it.
	BGP overlay.BGP

	// CPU, if set, makes packets wait for the CPU of the nodes that they pass. If
	// nil, nothing takes time but cables.
	CPU *CPUConfig

	// Settle makes time virtual; see link.DriverConfig. Packages emutest and
	// virtual set it.
	Settle func()

	byHand bool // see link.DriverConfig, for tests
}

// Underlay is the network between nodes. The zero value is one Ethernet segment,
// where every machine has a cable to one switch; Segments and Routers make it
// larger.
type Underlay struct {
	// Subnet is the network of the only segment, "underlay". If zero,
	// 192.168.56.0/24, or that of the first of Segments: its first address is the
	// gateway's, node N has the one after .10+N-1.
	Subnet netip.Prefix

	// MTU of the machines' devices. If zero, 1500.
	MTU int

	// Cable is what each direction of a machine's cable to the switch is like.
	// A packet from node to node crosses two cables.
	Cable link.WireConfig

	// NoGateway leaves the gateway away, and with it the default routes.
	NoGateway bool

	// Segments are the segments, if there is more than one to have.
	Segments []Segment

	// Routers join the segments. If empty, a router named "gateway" joins all.
	Routers []Router
}

func (c *Config) setDefaults() {
	if c.Proxy == "" {
		c.Proxy = ProxyIPTables
	}
	if c.Design == "" {
		c.Design = "flannel-vxlan"
	}
	if !c.PodCIDR.IsValid() {
		c.PodCIDR = netip.MustParsePrefix("10.244.0.0/16")
	}
	if !c.ServiceCIDR.IsValid() {
		c.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/12")
	}
	c.PodCIDR = c.PodCIDR.Masked()
	c.Underlay.setDefaults()
	c.BGP.Routed = c.BGP.Routed || slices.ContainsFunc(c.Underlay.Routers, func(r Router) bool { return r.AS != 0 })
}

// A Lab is a running network. Its methods may be called from any goroutine.
type Lab struct {
	cfg     Config
	drv     *link.Driver
	design  overlay.Design
	cni     overlay.CNI
	cluster *kube.Cluster

	segments     []*segment
	nodes        []*Node
	numbered     int // of nodes, given so far: a number is not used again
	pods         []*Pod
	hosts        []*Host
	machines     map[string]*Machine // by name: "node1", "default/web"
	addrs        map[netip.Addr]*Machine
	lives        map[string]int // by name of a pod, how often it was started
	captures     []*Capture
	peers        map[string]Peer // by network, what was seen last
	warnings     []string        // what daemons could not do
	stale        bool            // kube-proxy has not seen the latest change
	source       uint32          // of the lab's own timers
	dns          *dnsService     // nil in a lab without DNS
	ownAPIServer bool            // default/kubernetes is the lab's own still
	speakers     map[netip.Addr]*speaker
	attended     []*flow       // whose receivers start again with their pods
	sockets      *socketLB     // nil unless sockets are balanced
	changed      time.Duration // when Services, endpoints or pods last did
	closed       bool

	taps       []*TAP        // in the order in which they were added
	foreigners []ForeignNode // likewise

	serving errgroup.Group // goroutines of built-in workloads that take no turns: of net/http
	working sync.WaitGroup // those that do
	failed  error          // of the first of these that did
}

// New builds a lab. In virtual time call it inside the bubble.
func New(cfg Config) (*Lab, error) {
	cfg.setDefaults()
	design, ok := overlay.Find(cfg.Design)
	if !ok {
		return nil, fmt.Errorf("emu: design %q is not known (podwire designs lists them)", cfg.Design)
	}
	if err := cfg.check(design); err != nil {
		return nil, err
	}
	if err := cfg.CPU.validate(); err != nil {
		return nil, err
	}
	cluster, err := kube.NewCluster(kube.Config{
		PodCIDR: cfg.PodCIDR, ServiceCIDR: cfg.ServiceCIDR, Rand: rand.New(rand.NewPCG(cfg.Seed, 1)),
	})
	if err != nil {
		return nil, err
	}
	l := &Lab{
		cfg: cfg, design: design, cluster: cluster,
		drv:      link.NewDriver(link.DriverConfig{Settle: cfg.Settle, ByHand: cfg.byHand, Seed: cfg.Seed, Veth: cfg.VethLatency, Classifier: stack.Traffic{}}),
		machines: make(map[string]*Machine),
		addrs:    make(map[netip.Addr]*Machine),
		lives:    make(map[string]int),
		peers:    make(map[string]Peer),
	}
	l.drv.Do(func() { l.source = l.drv.NewSource() })
	l.cni = design.New(overlay.Network{PodCIDR: cfg.PodCIDR, Warn: l.warn, BGP: cfg.BGP, Speak: l.runSpeaker})
	if err := l.build(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// check finds what cannot work before anything is built.
func (c *Config) check(d overlay.Design) error {
	switch {
	case !c.PodCIDR.Addr().Is4():
		return fmt.Errorf("emu: pod CIDR %v: want an IPv4 prefix", c.PodCIDR)
	case c.Nodes < 0:
		return fmt.Errorf("emu: %d nodes, want 0 or more", c.Nodes)
	case races[c.ConntrackRace] == conntrack.NoRace && c.ConntrackRace != "":
		return fmt.Errorf("emu: conntrack race %q, want drop or resolve", c.ConntrackRace)
	case c.ProxySyncDelay < 0:
		return fmt.Errorf("emu: proxy sync delay %v, want 0 or more", c.ProxySyncDelay)
	case c.VethLatency < 0:
		return fmt.Errorf("emu: veth latency %v, want 0 or more", c.VethLatency)
	case d.Standalone: // the ranges have no meaning
	case c.PodCIDR.Overlaps(c.ServiceCIDR):
		return fmt.Errorf("emu: pod CIDR %v overlaps service CIDR %v", c.PodCIDR, c.ServiceCIDR)
	}
	if _, err := withSysctls(stack.Config{}, c.Sysctls); err != nil {
		return fmt.Errorf("emu: %w", err)
	}
	ranges := map[string]netip.Prefix{"pod CIDR": c.PodCIDR, "service CIDR": c.ServiceCIDR}
	if d.Standalone {
		ranges = nil
	}
	if err := c.Underlay.check(d.Name, d.Overhead, ranges); err != nil {
		return err
	}
	if err := c.checkProxy(); err != nil {
		return err
	}
	return c.checkPool()
}

// build makes the underlay and the first nodes.
func (l *Lab) build() error {
	var err error
	l.drv.Do(func() {
		for _, s := range l.cfg.Underlay.Segments {
			l.segments = append(l.segments, &segment{Segment: s, bridge: l.drv.NewBridge(s.Name)})
		}
		err = l.addRouters()
	})
	if err != nil {
		return err
	}
	for range l.cfg.Nodes {
		if _, err := l.AddNode(NodeConfig{}); err != nil {
			return err
		}
	}
	if l.cfg.DNS {
		return l.AddDNS(DNSConfig{})
	}
	return nil
}

// Config returns the lab's configuration with its defaults filled in.
func (l *Lab) Config() Config { return l.cfg }

// Driver returns the driver that owns the lab's time and state.
func (l *Lab) Driver() *link.Driver { return l.drv }

// Now returns the time since the lab began; exact in virtual time.
func (l *Lab) Now() time.Duration {
	var now time.Duration
	l.drv.Do(func() { now = l.drv.Now() })
	return now
}

// Deadline returns the time that lies d ahead, for SetDeadline of the lab's
// connections.
func (l *Lab) Deadline(d time.Duration) time.Time { return l.drv.Epoch().Add(l.Now() + d) }

// Sleep blocks the caller for a time of the lab's clock.
func (l *Lab) Sleep(d time.Duration) { l.drv.Sleep(d) }

// Go runs f in a goroutine of its own, in a repeatable order with everything
// else that happens at this instant.
func (l *Lab) Go(f func()) { l.drv.Go(f) }

// work runs f in a goroutine of its own, as [Lab.Go] does, for a caller that
// holds the lock. Close waits for it, and returns its error.
func (l *Lab) work(f func() error) {
	l.working.Add(1)
	l.drv.Start(func() {
		defer l.working.Done()
		if err := f(); err != nil {
			l.drv.Do(func() { l.failed = cmp.Or(l.failed, err) })
		}
	})
}

// serve is work for a caller that does not hold the lock. In a lab that is closed
// it does nothing.
func (l *Lab) serve(f func() error) {
	l.drv.Do(func() {
		if !l.closed {
			l.work(f)
		}
	})
}

// Close ends every socket, workload and goroutine of the lab. Captures that
// are still open are closed first. It is safe to call twice.
func (l *Lab) Close() error {
	var first bool
	l.drv.Do(func() { first, l.closed = !l.closed, true })
	if !first {
		return nil
	}
	var errs []error
	for _, c := range slices.Clone(l.captures) {
		errs = append(errs, c.Close())
	}
	for _, m := range l.Machines() {
		m.close()
	}
	for _, t := range l.TAPs() {
		errs = append(errs, t.splice.Close())
	}
	l.drv.Close()
	l.working.Wait()
	return errors.Join(append(errs, l.failed, l.serving.Wait())...)
}

// errNil is what a lab says to a nil object.
var errNil = errors.New("emu: object is nil")

// Standalone reports whether the nodes of a design are hosts without Kubernetes,
// as those of docker-bridge are: no kube-proxy, no Services, no pod CIDRs.
func Standalone(design string) bool {
	d, ok := overlay.Find(design)
	return ok && d.Standalone
}

// SpeaksBGP reports whether the nodes of a design run BGP daemons. Those of a
// design that is not known may.
func SpeaksBGP(design string) bool {
	d, ok := overlay.Find(design)
	return !ok || d.BGP
}

// BGPDesigns names the designs whose nodes run BGP daemons.
func BGPDesigns() (names []string) {
	for _, d := range overlay.Designs() {
		if d.BGP {
			names = append(names, d.Name)
		}
	}
	return names
}

// errClosed is what a lab says after Close.
var errClosed = errors.New("emu: lab is closed")

// Machines returns all machines: the nodes, the pods, then those outside, each in
// the order in which they were added.
func (l *Lab) Machines() []*Machine {
	var list []*Machine
	l.drv.Do(func() {
		for _, n := range l.nodes {
			list = append(list, &n.Machine)
		}
		for _, p := range l.pods {
			list = append(list, &p.Machine)
		}
		for _, h := range l.hosts {
			list = append(list, &h.Machine)
		}
	})
	return list
}

// Nodes returns the nodes in the order in which they were added.
func (l *Lab) Nodes() []*Node {
	var list []*Node
	l.drv.Do(func() { list = slices.Clone(l.nodes) })
	return list
}

// Pods returns the pods in the order in which they were added.
func (l *Lab) Pods() []*Pod {
	var list []*Pod
	l.drv.Do(func() { list = slices.Clone(l.pods) })
	return list
}

// Hosts returns the machines outside the cluster, the routers first.
func (l *Lab) Hosts() []*Host {
	var list []*Host
	l.drv.Do(func() { list = slices.Clone(l.hosts) })
	return list
}

// Node returns the node of that name, or nil.
func (l *Lab) Node(name string) *Node {
	i := slices.IndexFunc(l.Nodes(), func(n *Node) bool { return n.Name() == name })
	if i < 0 {
		return nil
	}
	return l.Nodes()[i]
}

// Pod returns the pod of that name, or nil. A name without a namespace is in
// "default": "web" is "default/web".
func (l *Lab) Pod(name string) *Pod {
	full := podName(name)
	for _, p := range l.Pods() {
		if p.Name() == full {
			return p
		}
	}
	return nil
}

// Machine returns the machine of that name, or nil: "node1", "laptop",
// "web" or "default/web".
func (l *Lab) Machine(name string) *Machine {
	var m *Machine
	l.drv.Do(func() {
		if m = l.machines[name]; m == nil {
			m = l.machines[podName(name)]
		}
	})
	return m
}

// podName adds the default namespace to a bare name.
func podName(name string) string {
	if path.Dir(name) == "." {
		return path.Join(metav1.NamespaceDefault, name)
	}
	return name
}
