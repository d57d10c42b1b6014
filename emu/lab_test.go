package emu_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

func TestBadConfigs(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		name string
		cfg  emu.Config
		want string
	}{
		{"design", emu.Config{Design: "flanel"}, `design "flanel" is not known`},
		{"nodes", emu.Config{Nodes: -1}, "-1 nodes, want 0 or more"},
		{"many nodes", emu.Config{Nodes: 300}, "is not a host address of the underlay"},
		{"overlap", emu.Config{PodCIDR: prefix("10.96.0.0/16")}, "overlaps service CIDR"},
		{"underlay overlap", emu.Config{PodCIDR: prefix("192.168.0.0/16")}, "overlaps underlay subnet"},
		{"IPv6", emu.Config{PodCIDR: prefix("fd00::/64")}, "want an IPv4 prefix"},
		{"MTU", emu.Config{Underlay: emu.Underlay{MTU: 600}}, "underlay MTU 600, want 626 to 65535"},
		{"cable", emu.Config{Underlay: emu.Underlay{Cable: link.WireConfig{Loss: 2}}}, "loss 2, want 0 to 1"},
		{"veth", emu.Config{VethLatency: -1}, "veth latency -1ns, want 0 or more"},
		{"service CIDR", emu.Config{ServiceCIDR: prefix("10.96.0.1/32")}, "10.96.0.1/32"},
	} {
		lab, err := emu.New(c.cfg)
		if err == nil {
			lab.Close()
			t.Errorf("%s: no error, want %q", c.name, c.want)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q, want %q in it", c.name, err, c.want)
		}
	}
}

func TestClashes(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("a", "node1")
		wantErr := func(want string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q in it", err, want)
			}
		}
		_, err := lab.Lab.AddPod(emu.PodConfig{Name: "a"})
		wantErr(`already a pod "default/a"`, err)
		_, err = lab.Lab.AddPod(emu.PodConfig{Name: "b", Node: "node9"})
		wantErr(`node "node9" does not exist`, err)
		_, err = lab.Lab.AddPod(emu.PodConfig{Name: "B!"})
		wantErr(`Pod "B!" is invalid: metadata.name`, err)
		_, err = lab.AddNode(emu.NodeConfig{Name: "node1"})
		wantErr(`already a machine "node1"`, err)
		_, err = lab.AddNode(emu.NodeConfig{PodCIDR: netip.MustParsePrefix("10.244.1.128/25")})
		wantErr("overlaps 10.244.1.0/24 of node1", err)
		_, err = lab.AddHost(emu.HostConfig{Name: "x", Addr: netip.MustParseAddr("192.168.56.11")})
		wantErr("already that of node1", err)
		_, err = lab.AddHost(emu.HostConfig{Name: "x", Addr: netip.MustParseAddr("192.168.57.1")})
		wantErr("is not a host address of the underlay", err)
		_, err = lab.Capture(io.Discard, emu.CaptureConfig{Points: []string{"["}})
		wantErr("syntax error in pattern", err)
		lab.Close()
		_, err = lab.Lab.AddPod(emu.PodConfig{Name: "late"})
		wantErr("lab is closed", err)
		_, err = lab.Machine("a").Dial("tcp", "10.244.1.2:80")
		if !errors.Is(err, net.ErrClosed) && (err == nil || !strings.Contains(err.Error(), "closed")) {
			t.Errorf("dial after Close: %v, want closed", err)
		}
	})
}

// A node's range is used up in turn, and a freed address comes back last.
func TestAddressesRunOut(t *testing.T) {
	emutest.Run(t, emu.Config{}, func(t *testing.T, lab *emutest.Lab) {
		if _, err := lab.AddNode(emu.NodeConfig{PodCIDR: netip.MustParsePrefix("10.244.5.0/29")}); err != nil {
			t.Fatal(err)
		}
		var pods []*emutest.Pod
		for i := range 5 { // .2 to .6
			p := lab.Pod(fmt.Sprint("p", i), "")
			if want := fmt.Sprintf("10.244.5.%d", i+2); p.Addr().String() != want {
				t.Errorf("pod %d has %v, want %s", i, p.Addr(), want)
			}
			pods = append(pods, p)
		}
		_, err := lab.Lab.AddPod(emu.PodConfig{Name: "p5"})
		if err == nil || !strings.Contains(err.Error(), "no IP addresses available in range set: 10.244.5.0/29") {
			t.Errorf("error %v, want that the range is used up", err)
		}
		if err := lab.RemovePod(pods[1].Pod); err != nil {
			t.Fatal(err)
		}
		if p := lab.Pod("again", ""); p.Addr().String() != "10.244.5.3" {
			t.Errorf("new pod has %v, want the freed 10.244.5.3", p.Addr())
		}
	})
}

// Endpoints follow pods: a Service without any refuses, one that gets a pod
// answers, and one whose pod is removed refuses again.
func TestServiceFollowsPods(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		lab.Service("web", 80, 8080, 0)
		client := lab.Pod("client", "node1")
		refused := func() {
			t.Helper()
			if c, err := client.Dial("tcp", "web:80"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial %v, %v, want connection refused", c, err)
			}
		}
		refused()
		web := lab.Pod("web", "node2", 8080)
		if got := client.Get("http://web/hostname"); got != "web" {
			t.Errorf("hostname %q, want web", got)
		}
		client.HTTPClient().CloseIdleConnections()
		if err := lab.RemovePod(web.Pod); err != nil {
			t.Fatal(err)
		}
		refused()
	})
}

// Half of the connections go to each of two backends, within what chance allows.
func TestServiceSpreads(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		client := lab.Pod("client", "node1")
		count := map[netip.Addr]int{}
		for _, node := range []string{"node1", "node2"} {
			p := lab.AddPod(emu.PodConfig{Name: "web-" + node, Node: node, Labels: map[string]string{"app": "web"}})
			ln, err := p.Listen("tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					lab.Driver().Do(func() { count[p.Addr()]++ })
					c.Close()
				}
			}()
		}
		lab.Service("web", 80, 80, 0)
		const n = 400
		for range n {
			c, err := client.Dial("tcp", "web:80")
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		lab.Sleep(time.Second)
		for a, got := range count {
			if got < n/2-60 || got > n/2+60 { // six standard deviations
				t.Errorf("%v got %d of %d connections, want about half", a, got, n)
			}
		}
		if len(count) != 2 {
			t.Errorf("%d backends were used, want 2", len(count))
		}
	})
}

// UDP through a Service, and clean-up when its backend goes: the client's next
// datagram, from the same port, reaches the new backend.
func TestUDPServiceForgetsADeadBackend(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		udp := []corev1.ContainerPort{{ContainerPort: 53, Protocol: corev1.ProtocolUDP}}
		label := map[string]string{"app": "dns"}
		first := lab.AddPod(emu.PodConfig{Name: "first", Node: "node2", Labels: label, Ports: udp})
		_, err := lab.AddService(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "dns"},
			Spec: corev1.ServiceSpec{Selector: label, Ports: []corev1.ServicePort{
				{Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromInt32(53)}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := lab.Pod("client", "node1").Dial("udp", "dns:53")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ask := func(want string) {
			t.Helper()
			c.Write([]byte("who"))
			c.SetReadDeadline(lab.Deadline(time.Second))
			buf := make([]byte, 10)
			if _, err := c.Read(buf); err != nil {
				t.Fatalf("no answer: %v", err)
			}
			if p, _ := lab.LastPeer("udp"); p.Machine != want {
				t.Errorf("%s answered, want %s", p.Machine, want)
			}
		}
		ask("default/first")
		if err := lab.RemovePod(first.Pod); err != nil {
			t.Fatal(err)
		}
		lab.AddPod(emu.PodConfig{Name: "second", Node: "node1", Labels: label, Ports: udp})
		ask("default/second")
	})
}

// A dial to an address that nobody has fails when ARP gives up, at exactly 3 s,
// and a context ends it earlier.
func TestDialFailures(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		client := lab.Pod("client", "node1")
		start := time.Now()
		_, err := client.Dial("tcp", "10.244.1.99:80")
		if took := time.Since(start); !errors.Is(err, syscall.EHOSTUNREACH) || took != 3*time.Second {
			t.Errorf("dial: %v after %v, want no route to host after 3s", err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start = time.Now()
		_, err = client.DialContext(ctx, "tcp", "10.244.1.98:80")
		var timeout net.Error
		if took := time.Since(start); !errors.As(err, &timeout) || !timeout.Timeout() || took != 500*time.Millisecond {
			t.Errorf("dial: %v after %v, want a timeout after 500ms", err, took)
		}
		var dns *net.DNSError
		if _, err := client.Dial("tcp", "nowhere:80"); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("dial: %v, want that the name is not found", err)
		}
	})
}

// Another seed makes other machines: everything random begins there.
func TestSeedsDiffer(t *testing.T) {
	macs := map[link.MAC]uint64{}
	for seed := range uint64(3) {
		emutest.Run(t, emu.Config{Nodes: 1, Seed: seed}, func(t *testing.T, lab *emutest.Lab) {
			lab.Pod("a", "node1")
			for _, m := range []string{"node1", "a"} {
				mac := lab.Machine(m).Stack().Device("eth0").MAC
				if other, ok := macs[mac]; ok {
					t.Errorf("%s has MAC %v with seed %d, as something with seed %d", m, mac, seed, other)
				}
				macs[mac] = seed
			}
		})
	}
}

func TestTraceroute(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		web := lab.Pod("web", "node2")
		hops, err := lab.Pod("client", "node1").Traceroute("web", 10, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range hops {
			got = append(got, h.Addr.String())
		}
		if want := "10.244.1.1 10.244.2.0 " + web.Addr().String(); strings.Join(got, " ") != want {
			t.Errorf("hops %v, want %s", got, want)
		}
	})
}

// After all kinds of traffic nothing is owned by anybody.
func TestNoFrameIsLost(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		web := lab.Pod("web", "node2", 80).Addr().String() // the name is the Service's
		lab.Service("web", 80, 80, 30080)
		client := lab.Pod("client", "node1")
		client.Get("http://web/")
		client.Ping(web)
		if _, err := client.PingWith(web, stack.PingConfig{Size: 5000, MayFragment: true}, time.Second); err != nil {
			t.Error(err)
		}
		emutest.Get(t, &lab.Host("laptop").Machine, "http://node1:30080/")
		client.Machine.Ping("10.244.2.99", 5*time.Second)
		lab.Sleep(time.Minute)
		lab.Driver().Do(func() {
			if n := lab.Driver().LiveFrames(); n != 0 {
				t.Errorf("%d frames are still owned by somebody, want 0", n)
			}
		})
	})
}
