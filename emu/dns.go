package emu

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu/resolv"
	"github.com/podwire/podwire/kube/coredns"
	"github.com/podwire/podwire/overlay"
)

// clusterDomain is what the names of Services end in.
const clusterDomain = "cluster.local"

// DNSConfig describes the cluster's DNS. The zero value is kubeadm's.
type DNSConfig struct {
	Replicas int // pods; if zero, 2
}

// dnsService is the cluster's DNS: what kube-dns answers from, and where.
type dnsService struct {
	server  *coredns.Server
	address netip.Addr // of the Service
}

// AddDNS starts the cluster's DNS. From then on pods look names up as glibc (or,
// with the annotation podwire/libc: musl, as musl) does, at the nameserver that
// their dnsPolicy gives them: with packets, the search list and ndots:5. What
// CoreDNS does not know it asks the gateway of its node, which knows nodes and
// machines outside. Nodes and machines outside look up nothing themselves; to them, names
// are known as in /etc/hosts.
//
// With DNS the cluster has the Service default/kubernetes, at the first address of
// the ServiceCIDR: port 443 leads to port 6443 of the nodes labelled
// node-role.kubernetes.io/control-plane, or of the first node. Nobody listens there
// (connections are refused) until somebody does, for example with
// Machine.Listen. A Service or an EndpointSlice of that name replaces the lab's.
func (l *Lab) AddDNS(cfg DNSConfig) error {
	if cfg.Replicas == 0 {
		cfg.Replicas = 2
	}
	if l.design.Standalone {
		return fmt.Errorf("emu: DNS: design %s has no cluster", l.design.Name)
	}
	if cfg.Replicas < 0 {
		return fmt.Errorf("emu: DNS with %d replicas, want 1 or more", cfg.Replicas)
	}
	address := addTo(l.cfg.ServiceCIDR.Masked().Addr(), 10)
	if !l.cfg.ServiceCIDR.Contains(address) {
		return fmt.Errorf("emu: DNS: service CIDR %v has no tenth address for kube-dns", l.cfg.ServiceCIDR)
	}
	if l.DNS().IsValid() {
		return fmt.Errorf("emu: DNS is running already, at %v", l.DNS())
	}
	if err := l.addAPIServer(); err != nil {
		return err
	}
	if _, err := l.AddService(kubeDNS(address)); err != nil {
		return err
	}
	l.drv.Do(func() {
		l.dns = &dnsService{address: address, server: coredns.New(l.cluster, coredns.Config{
			Address: address.String(), Rand: rand.New(rand.NewPCG(l.cfg.Seed, 53)), Serial: l.serial,
		})}
	})
	if err := l.serveUpstream(); err != nil {
		return err
	}
	for i := range cfg.Replicas {
		if _, err := l.startPod(corednsPod(i+1), overlay.Pod{}, (*Pod).serveCoreDNS); err != nil {
			return err
		}
	}
	return nil
}

// DNS returns the address of the cluster's DNS, the zero value if there is none.
func (l *Lab) DNS() netip.Addr {
	var a netip.Addr
	l.drv.Do(func() {
		if l.dns != nil {
			a = l.dns.address
		}
	})
	return a
}

// serial is when the cluster was changed last, as CoreDNS counts.
func (l *Lab) serial() uint32 { return uint32(l.drv.Epoch().Add(l.changed).Unix()) }

// kubeDNS is the Service as kubeadm writes it.
func kubeDNS(address netip.Addr) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-dns", Namespace: metav1.NamespaceSystem, Labels: map[string]string{"k8s-app": "kube-dns"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: address.String(), Selector: map[string]string{"k8s-app": "kube-dns"},
			Ports: []corev1.ServicePort{
				{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
				{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP},
				{Name: "metrics", Port: 9153, Protocol: corev1.ProtocolTCP},
			},
		},
	}
}

func corednsPod(n int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("coredns-%d", n), Namespace: metav1.NamespaceSystem, Labels: map[string]string{"k8s-app": "kube-dns"}},
		Spec: corev1.PodSpec{DNSPolicy: corev1.DNSDefault, Containers: []corev1.Container{{Name: "coredns", Image: "podwire", Ports: []corev1.ContainerPort{
			{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP},
			{Name: "dns-tcp", ContainerPort: 53, Protocol: corev1.ProtocolTCP},
			{Name: "metrics", ContainerPort: 9153, Protocol: corev1.ProtocolTCP},
		}}}},
	}
}

// AnnotationLibc chooses the C library whose resolver a pod has: glibc, which is
// the default, or musl.
const AnnotationLibc = "podwire/libc"

// ResolvConf returns the pod's /etc/resolv.conf as kubelet writes it, by
// spec.dnsPolicy and spec.dnsConfig. In a lab without DNS it is empty.
func (p *Pod) ResolvConf() resolv.Config {
	var c resolv.Config
	p.lab.drv.Do(func() { c = p.resolvConf() })
	return c
}

// ResolvConf returns the machine's resolv.conf: a pod's as its ResolvConf, that of
// a node or a machine outside names its gateway. In a lab without DNS it is empty.
func (m *Machine) ResolvConf() resolv.Config {
	if m.pod != nil {
		return m.pod.ResolvConf()
	}
	var c resolv.Config
	m.lab.drv.Do(func() {
		if m.lab.dns == nil || len(m.plugs) == 0 {
			return
		}
		if g := m.plugs[0].segment.gateway; g.IsValid() && g != m.addr {
			c.Nameservers = []netip.Addr{g}
		}
	})
	return c
}

// Resolver returns a resolver that asks from the machine's sockets as its resolv.conf
// says: for questions beyond Lookup, such as dig asks.
func (m *Machine) Resolver() *resolv.Resolver {
	r := &resolv.Resolver{Config: m.ResolvConf(), Network: stub{m}}
	if m.pod != nil {
		r.Library, _ = resolv.ParseLibrary(m.pod.spec.Annotations[AnnotationLibc])
	}
	return r
}

// resolvConf is ResolvConf for a caller that holds the lock.
func (p *Pod) resolvConf() resolv.Config {
	var c resolv.Config
	if p.lab.dns == nil {
		return c
	}
	host := resolv.Config{}
	if g := p.node.plugs[0].segment.gateway; g.IsValid() {
		host.Nameservers = []netip.Addr{g}
	}
	switch p.spec.Spec.DNSPolicy {
	case corev1.DNSDefault:
		c = host
	case corev1.DNSNone:
	default:
		c.Nameservers = []netip.Addr{p.lab.dns.address}
		c.Search = []string{p.spec.Namespace + ".svc." + clusterDomain, "svc." + clusterDomain, clusterDomain}
		c.Options = []resolv.Option{{Name: "ndots", Value: "5"}}
	}
	if d := p.spec.Spec.DNSConfig; d != nil {
		mergeDNSConfig(&c, d)
	}
	return c
}

// mergeDNSConfig appends what the pod asks for; an option replaces one of its
// name. What is beyond the limits is left out, as kubelet does.
func mergeDNSConfig(c *resolv.Config, d *corev1.PodDNSConfig) {
	for _, text := range d.Nameservers {
		if a, err := netip.ParseAddr(text); err == nil && !slices.Contains(c.Nameservers, a) {
			c.Nameservers = append(c.Nameservers, a)
		}
	}
	c.Nameservers = c.Nameservers[:min(len(c.Nameservers), resolv.MaxNameservers)]
	for _, s := range d.Searches {
		if !slices.Contains(c.Search, s) {
			c.Search = append(c.Search, s)
		}
	}
	c.Search = c.Search[:min(len(c.Search), resolv.MaxSearch)]
	for len(strings.Join(c.Search, " ")) > resolv.MaxSearchChars {
		c.Search = c.Search[:len(c.Search)-1]
	}
	for _, o := range d.Options {
		option := resolv.Option{Name: o.Name}
		if o.Value != nil {
			option.Value = *o.Value
		}
		c.Options = slices.DeleteFunc(c.Options, func(old resolv.Option) bool { return old.Name == o.Name })
		c.Options = append(c.Options, option)
	}
}

// resolver returns who looks up names for the machine: nil for the lab itself. A
// name that is in the pod's /etc/hosts has its address already.
func (m *Machine) resolver(name string) (r *resolv.Resolver, known netip.Addr) {
	m.lab.drv.Do(func() {
		if m.pod == nil || m.lab.dns == nil {
			return
		}
		switch name {
		case "localhost":
			known = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			return
		case m.pod.hostname():
			known = m.addr
			return
		}
		library, _ := resolv.ParseLibrary(m.pod.spec.Annotations[AnnotationLibc])
		r = &resolv.Resolver{Config: m.pod.resolvConf(), Library: library, Network: stub{m}}
	})
	return r, known
}

// hostname is what the pod calls itself.
func (p *Pod) hostname() string {
	if h := p.spec.Spec.Hostname; h != "" {
		return h
	}
	return p.spec.Name
}

// stub is a machine as its resolver sees it. Addresses are numbers already.
type stub struct{ *Machine }

// Deadline implements resolv.Network.
func (s stub) Deadline(d time.Duration) time.Time { return s.lab.Deadline(d) }

// QueryID implements resolv.Network.
func (s stub) QueryID() uint16 {
	var id uint16
	s.lab.drv.Do(func() {
		if s.queries == nil {
			s.queries = s.stack.Rand("resolver")
		}
		id = uint16(s.queries.Uint32())
	})
	return id
}
