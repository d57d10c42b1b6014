package kube

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestSameSeedSameAddresses(t *testing.T) {
	run := func(seed uint64) string {
		c, err := NewCluster(Config{Rand: rand.New(rand.NewPCG(seed, 0))})
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for i := range 50 {
			s := addService(t, c, service(fmt.Sprintf("s%d", i), nodePort(0)))
			text += fmt.Sprintln(s.Spec.ClusterIP, s.Spec.Ports[0].NodePort)
		}
		return text
	}
	if a, b := run(1), run(1); a != b {
		t.Errorf("seed 1 gave\n%s\nthen\n%s", a, b)
	}
	if run(1) == run(2) {
		t.Error("seeds 1 and 2 gave the same addresses")
	}
}

func TestUpperBandFirst(t *testing.T) {
	c := newCluster(t)
	lowest := netip.MustParseAddr("10.96.1.1") // 256 addresses are the static band
	for i := range 200 {
		s := addService(t, c, service(fmt.Sprintf("s%d", i), nodePort(0)))
		if ip := netip.MustParseAddr(s.Spec.ClusterIP); ip.Less(lowest) {
			t.Errorf("cluster IP %s, want %s or above", ip, lowest)
		}
		if np := s.Spec.Ports[0].NodePort; np < 30086 || np > 32767 {
			t.Errorf("node port %d, want 30086-32767", np)
		}
	}
}

func TestLowerBandWhenTheUpperIsFull(t *testing.T) {
	// A /27 has 30 addresses: .1 is the API server's, .10 is left for DNS, and
	// the first 16 are the static band.
	c, err := NewCluster(Config{ServiceCIDR: netip.MustParsePrefix("10.0.0.0/27"), NodePortRange: PortRange{30000, 30019}})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for i := range 28 {
		s := addService(t, c, service(fmt.Sprintf("s%d", i)))
		low := netip.MustParseAddr(s.Spec.ClusterIP).As4()[3] <= 16
		if low != (i >= 14) {
			t.Errorf("service %d got %s; the 14 addresses above 10.0.0.16 come first", i, s.Spec.ClusterIP)
		}
		seen[s.Spec.ClusterIP] = true
	}
	if len(seen) != 28 || seen["10.0.0.1"] || seen["10.0.0.10"] {
		t.Errorf("%d different addresses, API server's used: %t, DNS's used: %t; want 28, false, false", len(seen), seen["10.0.0.1"], seen["10.0.0.10"])
	}
	want := "Internal error occurred: failed to allocate a serviceIP: range is full"
	if err := c.AddService(service("more")); err == nil || err.Error() != want {
		t.Errorf("a 29th: %v, want %s", err, want)
	}
	addService(t, c, service("kube-dns", clusterIP("10.0.0.10"))) // but it may be asked for
	addService(t, c, service("kubernetes", clusterIP("10.0.0.1")))
}

func TestNodePortsRunOut(t *testing.T) {
	c, err := NewCluster(Config{NodePortRange: PortRange{30000, 30001}})
	if err != nil {
		t.Fatal(err)
	}
	addService(t, c, service("a", nodePort(0)))
	addService(t, c, service("b", nodePort(0)))
	want := "Internal error occurred: failed to allocate a nodePort: range is full"
	if err := c.AddService(service("c", nodePort(0))); err == nil || err.Error() != want {
		t.Errorf("third: %v, want %s", err, want)
	}
	if got := len(c.ips.used); got != 3 {
		t.Errorf("%d addresses taken, want 3: the API server's and two", got)
	}
}

func TestProtocolsOnOnePortShareTheNodePort(t *testing.T) {
	c := newCluster(t)
	s := addService(t, c, service("dns", func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports = []corev1.ServicePort{{Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP}, {Name: "tcp", Port: 53}, {Name: "metrics", Port: 9153}}
	}))
	udp, tcp, metrics := s.Spec.Ports[0].NodePort, s.Spec.Ports[1].NodePort, s.Spec.Ports[2].NodePort
	if udp == 0 || udp != tcp || metrics == udp {
		t.Errorf("node ports %d/UDP %d/TCP %d, want the first two the same", udp, tcp, metrics)
	}
	if err := c.RemoveService("", "dns"); err != nil || len(c.nodePorts.used) != 0 {
		t.Errorf("after removal: %v, %d ports taken, want none", err, len(c.nodePorts.used))
	}
}

func TestLoadBalancerGetsItsPorts(t *testing.T) {
	c := newCluster(t)
	lb := addService(t, c, service("lb", loadBalancer("203.0.113.9"), externalLocal))
	if lb.Spec.Ports[0].NodePort == 0 || lb.Spec.HealthCheckNodePort == 0 || lb.Spec.HealthCheckNodePort == lb.Spec.Ports[0].NodePort {
		t.Errorf("nodePort %d, healthCheckNodePort %d, want two different ports", lb.Spec.Ports[0].NodePort, lb.Spec.HealthCheckNodePort)
	}
	bare := addService(t, c, service("bare", loadBalancer("203.0.113.10"), func(s *corev1.Service) {
		no := false
		s.Spec.AllocateLoadBalancerNodePorts = &no
	}))
	if np := bare.Spec.Ports[0].NodePort; np != 0 {
		t.Errorf("allocateLoadBalancerNodePorts false: nodePort %d, want 0", np)
	}
}

func TestBadRangesAreErrors(t *testing.T) {
	for _, cfg := range []Config{
		{ServiceCIDR: netip.MustParsePrefix("10.0.0.1/32")},
		{ServiceCIDR: netip.MustParsePrefix("10.0.0.0/31")},
		{NodePortRange: PortRange{5, 4}},
		{NodePortRange: PortRange{0, 4}},
	} {
		if c, err := NewCluster(cfg); err == nil || c != nil {
			t.Errorf("NewCluster(%v %v) = %v, %v, want an error", cfg.ServiceCIDR, cfg.NodePortRange, c, err)
		}
	}
	if _, err := NewCluster(Config{ServiceCIDR: netip.MustParsePrefix("fd00::/108")}); err != nil {
		t.Errorf("IPv6 service range: %v, want no error", err)
	}
}

func TestDefaults(t *testing.T) {
	s := service("web", func(s *corev1.Service) {
		s.Namespace = ""
		s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	})
	DefaultService(s)
	got := fmt.Sprint(s.Namespace, " ", s.Spec.Type, " ", s.Spec.Ports[0].Protocol, " ", s.Spec.Ports[0].TargetPort.String(), " ",
		*s.Spec.SessionAffinityConfig.ClientIP.TimeoutSeconds, " ", *s.Spec.InternalTrafficPolicy, " ", s.Spec.ExternalTrafficPolicy)
	if want := "default ClusterIP TCP 80 10800 Cluster "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	np := service("web", nodePort(0))
	DefaultService(np)
	if np.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyCluster || np.Spec.SessionAffinity != corev1.ServiceAffinityNone {
		t.Errorf("NodePort: externalTrafficPolicy %q sessionAffinity %q, want Cluster and None", np.Spec.ExternalTrafficPolicy, np.Spec.SessionAffinity)
	}
}
