package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
)

// dockerHosts is two docker hosts: 192.168.56.11 and .12.
var dockerHosts = emu.Config{Nodes: 2, Seed: 1, Design: "docker-bridge"}

// container adds a container to a user network, or to docker0 if network is
// empty, with a port published as `docker run -p hostPort:port`.
func container(t *testing.T, lab *emutest.Lab, name, node, network string, ports ...corev1.ContainerPort) *emu.Pod {
	t.Helper()
	spec := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: name, Image: "podwire", Ports: ports}}},
	}
	if network != "" {
		spec.Annotations = map[string]string{overlay.NetworkAnnotation: network}
	}
	p, err := lab.AddPodObject(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// published is a TCP port of a container that the host publishes.
func published(host, port int32) corev1.ContainerPort {
	return corev1.ContainerPort{HostPort: host, ContainerPort: port}
}

// bridgeOf is the name of the bridge that a container hangs on.
func bridgeOf(p *emu.Pod) string {
	h := p.Node().Stack()
	gw := p.Stack().Routes()[0].Via
	for _, d := range h.Devices() {
		if slices.ContainsFunc(d.Addrs(), func(a netip.Prefix) bool { return a.Addr() == gw }) {
			return d.Name
		}
	}
	return "no bridge"
}

// B5: what a container sends to the world carries its own address on docker0
// and the host's on the cable; what comes back is translated again.
func TestB5ContainerToInternet(t *testing.T) {
	var c *emu.Pod
	var web *emu.Host
	s := record(t, dockerHosts, func(t *testing.T, lab *emutest.Lab) {
		c, web = container(t, lab, "c1", "node1", ""), lab.Host("web")
		if c.Addr().String() != "172.17.0.2" || bridgeOf(c) != "docker0" {
			t.Errorf("the container is %v on %s, want 172.17.0.2 on docker0", c.Addr(), bridgeOf(c))
		}
		lab.Sleep(10 * time.Second) // its announcements are over
		r, err := c.Ping(web.Addr().String(), time.Second)
		if err != nil || r.Err() != nil || r.TTL != 63 {
			t.Errorf("ping = %+v, %v, want an answer with TTL 63", r, err)
		}
	})
	ask := s.on("default/c1/eth0").out().where("icmp.type", "8").one(t, "request of the container")
	s.wantPath(t, ask.id, "",
		"c1/eth0 out: c1/eth0 > node1/docker0, 172.17.0.2 > 192.168.56.254, ttl 64",
		"node1/veth(c1) in: c1/eth0 > node1/docker0, 172.17.0.2 > 192.168.56.254, ttl 64",
		"node1/docker0 in: c1/eth0 > node1/docker0, 172.17.0.2 > 192.168.56.254, ttl 64",
		"node1/eth0 out: node1/eth0 > web/eth0, 192.168.56.11 > 192.168.56.254, ttl 63",
		"web/eth0 in: node1/eth0 > web/eth0, 192.168.56.11 > 192.168.56.254, ttl 63",
	)
	answer := s.on(eth0(web)).out().where("icmp.type", "0").one(t, "reply")
	s.wantPath(t, answer.id, "",
		"web/eth0 out: web/eth0 > node1/eth0, 192.168.56.254 > 192.168.56.11, ttl 64",
		"node1/eth0 in: web/eth0 > node1/eth0, 192.168.56.254 > 192.168.56.11, ttl 64",
		"node1/docker0 out: node1/docker0 > c1/eth0, 192.168.56.254 > 172.17.0.2, ttl 63",
		"node1/veth(c1) out: node1/docker0 > c1/eth0, 192.168.56.254 > 172.17.0.2, ttl 63",
		"c1/eth0 in: node1/docker0 > c1/eth0, 192.168.56.254 > 172.17.0.2, ttl 63",
	)
}

// B7: networks of one host do not reach each other: what is sent is dropped in
// silence before it reaches the other bridge, published port or not. By the
// host's address the published port is there for all.
func TestB7NetworksAreIsolated(t *testing.T) {
	var back, front *emu.Pod
	s := record(t, dockerHosts, func(t *testing.T, lab *emutest.Lab) {
		back = container(t, lab, "back", "node1", "back", published(8080, 80))
		front = container(t, lab, "front", "node1", "front")
		if got := fmt.Sprint(back.Addr(), front.Addr()); got != "172.18.0.2 172.19.0.2" {
			t.Errorf("the containers are %s, want 172.18.0.2 172.19.0.2", got)
		}
		lab.Sleep(10 * time.Second)
		if r, err := front.Ping("172.18.0.2", time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ping of the other network = %+v, %v, want a timeout", r, err)
		}
		client := front.HTTPClient()
		client.Timeout = 3 * time.Second
		if r, err := client.Get("http://172.18.0.2/"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("GET from the container itself = %v, %v, want a timeout", r, err)
		}
		client.Timeout = 0
		if got := emutest.Get(t, &front.Machine, "http://192.168.56.11:8080/clientip"); !strings.HasPrefix(got, "172.18.0.1:") {
			t.Errorf("by the host's port the container sees %s, want the gateway of its network, 172.18.0.1", got)
		}
	})
	hex := regexp.MustCompile(`^br-[0-9a-f]{12}$`)
	for _, p := range []*emu.Pod{back, front} {
		if name := bridgeOf(p); !hex.MatchString(name) {
			t.Errorf("bridge of %s is %q, want br- and 12 hex digits", p.Name(), name)
		}
		if !regexp.MustCompile(`^veth[0-9a-f]{7}$`).MatchString(p.Peer()) {
			t.Errorf("veth of %s is %q, want veth and 7 hex digits", p.Name(), p.Peer())
		}
	}
	s.on("default/front/eth0").out().where("ip.dst", "172.18.0.2").some(t, "packets to the other network leave the container")
	s.on("node1/"+bridgeOf(front)).in().where("ip.dst", "172.18.0.2").some(t, "packets to the other network on the bridge they came from")
	s.on("node1/"+bridgeOf(back), "node1/"+back.Peer(), "default/back/eth0").where("ip.src", "172.19.0.2").
		none(t, "packet of the other network on the bridge")
	s.where("icmp.type", "0").none(t, "echo reply")
	s.errors().none(t, "ICMP error")
}

// B8: on the host itself 127.0.0.1 is docker-proxy, a process of the host: the
// container sees the gateway of its network as the client. A client elsewhere
// is translated, and keeps its address.
func TestB8UserlandProxy(t *testing.T) {
	var laptop *emu.Host
	s := record(t, dockerHosts, func(t *testing.T, lab *emutest.Lab) {
		container(t, lab, "c1", "node1", "", published(8080, 80))
		laptop = lab.Host("laptop")
		other := container(t, lab, "c2", "node1", "")
		node := &lab.Node("node1").Machine
		for _, x := range []struct {
			from *emu.Machine
			url  string
			want string
		}{
			{node, "http://127.0.0.1:8080/clientip", "172.17.0.1"},
			{node, "http://192.168.56.11:8080/clientip", "192.168.56.11"}, // OUTPUT translates it
			{&laptop.Machine, "http://192.168.56.11:8080/clientip", laptop.Addr().String()},
			{&other.Machine, "http://192.168.56.11:8080/clientip", "172.17.0.1"}, // not from docker0: the proxy again
			{&other.Machine, "http://172.17.0.2/clientip", other.Addr().String()},
		} {
			if got := emutest.Get(t, x.from, x.url); !strings.HasPrefix(got, x.want+":") {
				t.Errorf("GET %s from %s: the container sees %s, want %s", x.url, x.from.Name(), got, x.want)
			}
		}
	})
	// To the host's own address nothing leaves lo but the proxy's connection does.
	lo := s.on("node1/lo").where("tcp.flags", syn).one(t, "SYN on lo")
	lo.want(t, "ip.src", "127.0.0.1", "ip.dst", "127.0.0.1", "tcp.dstport", "8080")
	at := s.on("default/c1/eth0").in().where("tcp.flags", syn)
	var from []string
	for _, f := range at {
		f.want(t, "ip.dst", "172.17.0.2", "tcp.dstport", "80")
		from = append(from, fmt.Sprint(f.get("ip.src"), " ttl ", f.get("ip.ttl")))
	}
	want := []string{"172.17.0.1 ttl 64", "192.168.56.11 ttl 64", laptop.Addr().String() + " ttl 63", "172.17.0.1 ttl 64", "172.17.0.3 ttl 64"}
	if !slices.Equal(from, want) {
		t.Errorf("connections at the container come from %v, want %v", from, want)
	}
}

// B8 for UDP: docker-proxy has a socket to the container for each client, and
// forgets one that the container has not answered for 90 s.
func TestB8UserlandProxyUDP(t *testing.T) {
	s := record(t, dockerHosts, func(t *testing.T, lab *emutest.Lab) {
		container(t, lab, "dns", "node1", "", corev1.ContainerPort{HostPort: 53, ContainerPort: 5353, Protocol: corev1.ProtocolUDP})
		c, err := lab.Node("node1").Dial("udp", "127.0.0.1:53")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i := range 3 {
			if _, err := c.Write([]byte(dnsQuery)); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(lab.Deadline(time.Second))
			if n, err := c.Read(make([]byte, 64)); err != nil || n != len(dnsQuery) {
				t.Errorf("answer %d: %d bytes, %v, want %d", i+1, n, err, len(dnsQuery))
			}
			lab.Sleep([]time.Duration{89 * time.Second, 91 * time.Second, 0}[i])
		}
	})
	ports := s.on("default/dns/eth0").in().where("udp.dstport", "5353", "ip.src", "172.17.0.1").values("udp.srcport")
	if len(ports) != 3 || ports[0] != ports[1] || ports[1] == ports[2] {
		t.Errorf("the container is asked from ports %v, want one for two queries within 90 s and another later", ports)
	}
}

// A port that is published on 127.0.0.1 is for the host alone, and a host that
// routes to the container's address directly is refused too: A1.
func TestDockerPublishesNoMoreThanAsked(t *testing.T) {
	s := record(t, dockerHosts, func(t *testing.T, lab *emutest.Lab) {
		container(t, lab, "c1", "node1", "", corev1.ContainerPort{HostIP: "127.0.0.1", HostPort: 8080, ContainerPort: 80})
		laptop := lab.Host("laptop")
		node := lab.Node("node1")
		if got := emutest.Get(t, &node.Machine, "http://127.0.0.1:8080/hostname"); got != "c1" {
			t.Errorf("on the host /hostname = %q, want c1", got)
		}
		if c, err := laptop.Dial("tcp", "192.168.56.11:8080"); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("dial from elsewhere = %v, %v, want connection refused", c, err)
		}
		var err error
		lab.Driver().Do(func() {
			h := laptop.Stack()
			err = h.AddRoute(stack.Route{Dst: netip.MustParsePrefix("172.17.0.0/16"), Via: node.Addr(), Dev: h.Device("eth0")})
		})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := laptop.Ping("172.17.0.2", time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ping of the container by a route = %+v, %v, want a timeout", r, err)
		}
	})
	s.on("node1/eth0").in().where("ip.dst", "172.17.0.2").one(t, "packet to the container at the host")
	s.on("node1/docker0").where("icmp.type", "8").none(t, "packet of another host on docker0")
}

// A container announces its address three times, a second apart; docker0 has no
// carrier, and shows no frame, as long as it has no container.
func TestDockerAnnouncesThreeTimes(t *testing.T) {
	var c *emu.Pod
	var began time.Duration
	s := record(t, dockerHosts, func(t *testing.T, lab *emutest.Lab) {
		node := lab.Node("node1")
		if _, err := node.Ping("127.0.0.1", time.Second); err != nil { // times in the capture begin with its first frame
			t.Fatal(err)
		}
		docker0 := node.Stack().Device("docker0")
		carrier := func() (up bool) {
			lab.Driver().Do(func() { up = docker0.Carrier() })
			return up
		}
		if carrier() {
			t.Error("docker0 has a carrier without a container")
		}
		if r, err := node.Ping("172.17.0.2", 10*time.Second); err != nil || r.Type != 3 || r.Code != 1 || r.RTT != 3*time.Second {
			t.Errorf("ping into the empty network = %+v, %v, want host unreachable after 3s", r, err)
		}
		began = lab.Now()
		c = container(t, lab, "c1", "node1", "")
		if !carrier() {
			t.Error("docker0 has no carrier with a container")
		}
		lab.Sleep(10 * time.Second)
		if err := lab.RemovePod(c); err != nil {
			t.Fatal(err)
		}
		if carrier() {
			t.Error("docker0 has a carrier after its container is gone")
		}
	})
	s.on("node1/docker0").filter(func(f *frame) bool { return f.at < began }).none(t, "frame on docker0 without a carrier")
	arp := s.on("node1/docker0").in().having("arp.opcode")
	if len(arp) != 3 {
		t.Fatalf("%d ARP frames on docker0, want 3: %v", len(arp), arp)
	}
	for i, f := range arp {
		f.want(t, "arp.opcode", "1", "eth.dst", "ff:ff:ff:ff:ff:ff", "frame.len", "42", "arp.src.proto_ipv4", "172.17.0.2",
			"arp.dst.proto_ipv4", "172.17.0.2", "arp.dst.hw_mac", "00:00:00:00:00:00", "arp.src.hw_mac", macOf(c, "eth0"))
		if want := began + time.Duration(i)*time.Second; f.at != want {
			t.Errorf("announcement %d at %v, want %v", i+1, f.at, want)
		}
	}
	if mac := macOf(c, "eth0"); mac[1] != '2' && mac[1] != '6' && mac[1] != 'a' && mac[1] != 'e' {
		t.Errorf("MAC of the container %s is not locally administered", mac)
	}
}

// Containers of two hosts have the same addresses and no way to each other: what
// one sends to the other's address stays on its own bridge.
func TestDockerHostsAreIslands(t *testing.T) {
	s := record(t, dockerHosts, func(t *testing.T, lab *emutest.Lab) {
		a, b := container(t, lab, "a", "node1", ""), container(t, lab, "b", "node2", "")
		container(t, lab, "b2", "node2", "")
		if a.Addr() != b.Addr() {
			t.Errorf("the first containers of two hosts are %v and %v, want one address", a.Addr(), b.Addr())
		}
		lab.Sleep(10 * time.Second)
		r, err := a.Ping("172.17.0.3", 10*time.Second)
		if err != nil || r.Type != 3 || r.Code != 1 || r.From != a.Addr() || r.RTT != 3*time.Second {
			t.Errorf("ping of the other host's container = %+v, %v, want host unreachable from the container itself after 3s", r, err)
		}
	})
	s.on("default/a/eth0").out().where("arp.dst.proto_ipv4", "172.17.0.3").some(t, "ARP requests on the container's bridge")
	s.on("node1/eth0", "node2/eth0").none(t, "frame between the hosts")
}

// What docker cannot do is refused in words.
func TestDockerRefuses(t *testing.T) {
	emutest.Run(t, dockerHosts, func(t *testing.T, lab *emutest.Lab) {
		container(t, lab, "c1", "node1", "", published(8080, 80))
		pod := func(network string, port corev1.ContainerPort) error {
			_, err := lab.AddPodObject(&corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "c2", Annotations: map[string]string{overlay.NetworkAnnotation: network}},
				Spec:       corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "c2", Image: "podwire", Ports: []corev1.ContainerPort{port}}}},
			})
			return err
		}
		_, service := lab.AddService(udpService("dns", 53, 53))
		for _, x := range []struct {
			err  error
			want string
		}{
			{pod("", published(8080, 80)), `emu: pod default/c2: overlay: docker: node1: Bind for 0.0.0.0:8080/tcp failed: port is already allocated, to container c1`},
			{pod("host", published(80, 80)), `docker's network "host" is not emulated`},
			{pod("-x", published(80, 80)), `"-x" is no name of a network`},
			{pod("", corev1.ContainerPort{HostIP: "10.9.8.7", HostPort: 80, ContainerPort: 80}), `node1 has no address 10.9.8.7`},
			{pod("", corev1.ContainerPort{HostIP: "here", HostPort: 80, ContainerPort: 80}), `hostIP "here" of port 80, want an IP address`},
			{service, `emu: Service "dns": hosts of docker-bridge run no kube-proxy; publish a port of the pod instead (hostPort)`},
		} {
			if x.err == nil || !strings.Contains(x.err.Error(), x.want) {
				t.Errorf("error %v, want %s", x.err, x.want)
			}
		}
		if got := lab.Lab.Pod("c2"); got != nil {
			t.Errorf("pod %s stays after it was refused", got.Name())
		}
		if _, err := lab.Lab.AddPod(emu.PodConfig{Name: "c3", Node: "node2", Ports: []corev1.ContainerPort{published(8080, 80)}}); err != nil {
			t.Errorf("the same port on another host: %v", err)
		}
	})
}
