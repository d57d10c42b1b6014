package conformance

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// atConnect is the reference cluster with its sockets balanced.
var atConnect = emu.Config{Nodes: 2, Seed: 1, Proxy: emu.ProxySocket}

// B6: with balancing at connect() no packet carries the cluster IP, not even at the
// client; to the program it looks as if one did.
func TestB6NoPacketCarriesTheClusterIP(t *testing.T) {
	var client, web *emutest.Pod
	var ip string
	s := record(t, atConnect, func(t *testing.T, lab *emutest.Lab) {
		client, web = lab.Pod("client", "node1"), lab.Pod("web", "node2", 8080)
		ip = lab.Service("web", 80, 8080, 30002).Spec.ClusterIP
		c, err := client.Dial("tcp", "web:80")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.RemoteAddr().String(), ip+":80"; got != want {
			t.Errorf("connected to %s, want %s, as getpeername says", got, want)
		}
		c.Close()
		for m, url := range map[*emu.Machine]string{
			&client.Machine: "http://192.168.56.12:30002/clientip", &lab.Node("node1").Machine: "http://127.0.0.1:30002/clientip",
		} {
			if got := emutest.Get(t, m, url); strings.HasPrefix(got, "10.244.2.1:") || strings.HasPrefix(got, "192.168") {
				t.Errorf("%s of %s: the backend sees %s, want no masquerading of the client", m.Name(), url, got)
			}
		}
		if got := web.Get("http://web/clientip"); !strings.HasPrefix(got, web.Addr().String()+":") {
			t.Errorf("the pod that reaches itself sees %s, want itself", got)
		}
	})
	s.where("ip.dst", ip).none(t, "packet to the cluster IP")
	s.where("ip.src", ip).none(t, "packet from the cluster IP")
	s.where("tcp.dstport", "30002").none(t, "packet to the node port")
	s.on(eth0(client)).out().where("tcp.flags", syn, "tcp.dstport", "8080").some(t, "SYN to the backend itself")[0].
		want(t, "ip.src", "10.244.1.2", "ip.dst", web.Addr().String())
}

// With balancing at connect() a Service without endpoints is refused by the
// client's own kernel, and what is no socket of the cluster meets the rules.
func TestB6WhatSocketsDoNotDo(t *testing.T) {
	var client *emutest.Pod
	var ip string
	s := record(t, atConnect, func(t *testing.T, lab *emutest.Lab) {
		client = lab.Pod("client", "node1")
		lab.Pod("web", "node2", 8080)
		lab.Service("web", 80, 8080, 30002)
		ip = lab.Service("nobody", 80, 8080, 0).Spec.ClusterIP
		if c, err := client.Dial("tcp", "nobody:80"); !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("dial = %v, %v, want no route to host", c, err)
		}
		ext := lab.Host("ext")
		if got := emutest.Get(t, &ext.Machine, "http://192.168.56.11:30002/clientip"); !strings.HasPrefix(got, "10.244.1.0:") {
			t.Errorf("from outside the backend sees %s, want 10.244.1.0 as kube-proxy's rules have it", got)
		}
		if r, err := client.Machine.Ping(ip, time.Second); err == nil {
			t.Errorf("ping of the cluster IP = %+v, want a timeout: it is no socket's", r)
		}
	})
	s.where("ip.dst", ip).having("tcp.flags").none(t, "SYN to the Service without endpoints")
}

// Each endpoint gets its share; with affinity a client keeps its endpoint.
func TestB6SocketChoice(t *testing.T) {
	emutest.Run(t, atConnect, func(t *testing.T, lab *emutest.Lab) {
		greeters(t, lab, 0, "a", "b", "c")
		client := lab.Pod("client", "node1")
		count := map[string]int{}
		for range 900 {
			count[greeted(t, client)]++
		}
		for _, name := range []string{"a", "b", "c"} {
			if n := count[name]; n < 250 || n > 350 {
				t.Errorf("%s got %d of 900 connections, want about 300", name, n)
			}
		}
	})
	emutest.Run(t, atConnect, func(t *testing.T, lab *emutest.Lab) {
		greeters(t, lab, 60, "a", "b", "c", "d")
		client := lab.Pod("client", "node1")
		home, moved := greeted(t, client), 0
		for range 20 {
			lab.Sleep(time.Minute)
			if name := greeted(t, client); name != home {
				t.Fatalf("within the time the client went from %s to %s", home, name)
			}
		}
		for range 20 {
			lab.Sleep(time.Minute + 1)
			if name := greeted(t, client); name != home {
				home = name
				moved++
			}
		}
		if moved < 8 {
			t.Errorf("after the time the client moved %d of 20 times, want most", moved)
		}
	})
}

// A UDP socket that is not connected is balanced datagram by datagram, and its
// answers come from the Service: musl's resolver would not take them otherwise.
func TestB6UDPWithoutConnect(t *testing.T) {
	cfg := atConnect
	cfg.DNS = true
	var client *emutest.Pod
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p, err := lab.AddPodObject(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "client", Annotations: map[string]string{emu.AnnotationLibc: "musl"}},
			Spec:       corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "c"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		client = &emutest.Pod{Pod: p}
		for i := range 8 {
			lab.Service(fmt.Sprintf("web%d", i), 80, 8080, 0)
			if a, err := client.Lookup(fmt.Sprintf("web%d", i)); err != nil || !netip.MustParsePrefix("10.96.0.0/12").Contains(a) {
				t.Errorf("lookup = %v, %v, want a cluster IP", a, err)
			}
		}
	})
	s.where("ip.dst", "10.96.0.10").none(t, "packet to kube-dns")
	to := map[string]bool{}
	for _, f := range s.on(eth0(client)).out().having("dns.id") {
		to[f.get("ip.dst")] = true
	}
	if len(to) != 2 {
		t.Errorf("asked %v, want both pods of CoreDNS", to)
	}
}

func TestProxyModeIsKnown(t *testing.T) {
	_, err := emu.New(emu.Config{Proxy: "userspace"})
	if want := `emu: proxy "userspace" is not known, want one of iptables, ipvs, nftables, socket`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
