package emu_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/stack"
)

// net/http's server waits half a second when it has not read a request to its
// end: the test's bubble must outlive it.
func TestRequestBodyNobodyReads(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("w", "node2", 80)
		resp, err := lab.Pod("c", "node1").HTTPClient().Post("http://w/hostname", "text/plain", strings.NewReader(strings.Repeat("a", 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	})
}

func TestEchoReturnsEverything(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("w", "node2", 80)
		c := lab.Pod("c", "node1")
		for _, n := range []int{0, 5000, 300000} {
			resp, err := c.HTTPClient().Post("http://w/echo", "text/plain", strings.NewReader(strings.Repeat("x", n)))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || len(body) != n {
				t.Errorf("echo of %d bytes: %d bytes, %v", n, len(body), err)
			}
		}
	})
}

// Switching a node off and on does not plug in cables that were pulled.
func TestNodeUpLeavesPulledCables(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		w, c := lab.Pod("w", "node2"), lab.Pod("c", "node1")
		node2 := lab.Node("node2")
		answers := func() bool {
			r, err := c.Machine.Ping("w", 10*time.Second)
			return err == nil && r.Err() == nil
		}
		node2.SetUp(false)
		w.SetLink(false)
		node2.SetUp(true)
		if answers() {
			t.Error("the pod answers, but its cable was pulled")
		}
		w.SetLink(true)
		if !answers() {
			t.Error("the pod does not answer, but its cable is plugged in")
		}
		node2.SetLink(false)
		node2.SetUp(false)
		node2.SetUp(true)
		if answers() {
			t.Error("the pod answers, but its node's cable was pulled")
		}
		node2.SetUp(false)
		w.SetLink(true)
		late := lab.Pod("late", "node2")
		if r, err := w.Machine.Ping(late.Addr().String(), 10*time.Second); err == nil && r.Err() == nil {
			t.Error("pods of a node that is off reach each other")
		}
	})
}

func TestFailedPodLeavesNothing(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		lab.Service("dp", 80, 80, 0)
		twice := emu.PodConfig{Name: "dp", Labels: map[string]string{"app": "dp"}, Ports: []corev1.ContainerPort{{ContainerPort: 80}, {ContainerPort: 80}}}
		_, err := lab.Lab.AddPod(twice)
		if err == nil || !strings.Contains(err.Error(), "port 80/TCP is already taken in this pod") && !strings.Contains(err.Error(), "Duplicate value") {
			t.Errorf("error %v, want that the port is taken", err)
		}
		if lab.Lab.Pod("dp") != nil {
			t.Error("the pod is still there")
		}
		if _, err := lab.Pod("c", "").Dial("tcp", "dp:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v, want connection refused: there is no endpoint", err)
		}
		lab.Pod("dp", "", 80)
	})
}

// A multicast frame goes to the group's own address, and every pod of the
// bridge sees it, whatever the default route says.
func TestMulticastStaysOnTheLink(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		c := lab.Pod("c", "node1")
		lab.Pod("n", "node1")
		var b bytes.Buffer
		capture, err := lab.Capture(&b, emu.CaptureConfig{Points: []string{"default/n/eth0"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"224.0.0.5:9999", "255.255.255.255:9999"} {
			if conn, err := c.ListenPacket("udp", ":0"); err == nil {
				conn.WriteTo([]byte("x"), udpAddr(to))
				conn.Close()
			}
			if _, err := c.Dial("tcp", to); !errors.Is(err, syscall.ENETUNREACH) {
				t.Errorf("TCP to %s: %v, want network is unreachable", to, err)
			}
		}
		lab.Sleep(time.Second)
		capture.Close()
		all, err := pcap.ReadAll(&b)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range all.Packets {
			got = append(got, strings.ReplaceAll(netip.AddrFrom4([4]byte(p.Data[30:34])).String(), " ", "")+" "+p.Reception.String())
		}
		if want := "224.0.0.5 multicast,255.255.255.255 broadcast"; strings.Join(got, ",") != want {
			t.Errorf("the other pod saw %v, want %s", got, want)
		}
	})
}

type udpAddr string

func (a udpAddr) Network() string { return "udp" }
func (a udpAddr) String() string  { return string(a) }

// Labs of one bubble take turns at waiting for it.
func TestTwoLabsInOneBubble(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, one *emutest.Lab) {
		two := emutest.New(t, emu.Config{Nodes: 2})
		for _, lab := range []*emutest.Lab{one, two} {
			lab.Pod("w", "node2", 80)
			if got := lab.Pod("c", "node1").Get("http://w/hostname"); got != "w" {
				t.Errorf("hostname %q, want w", got)
			}
		}
	})
}

func TestNamesOfServicesWithoutClusterIP(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		w := lab.Pod("w", "node1", 80)
		add := func(name string, spec corev1.ServiceSpec) {
			t.Helper()
			if _, err := lab.AddService(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}); err != nil {
				t.Fatal(err)
			}
		}
		add("headless", corev1.ServiceSpec{ClusterIP: "None", Selector: map[string]string{"app": "w"}, Ports: []corev1.ServicePort{{Port: 80}}})
		add("elsewhere", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "headless"})
		add("loop", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "loop"})
		for _, name := range []string{"headless", "elsewhere"} {
			if a, err := lab.Resolve(name); a != w.Addr() {
				t.Errorf("%s is %v, %v, want %v", name, a, err, w.Addr())
			}
		}
		if a, err := lab.Resolve("loop"); err == nil {
			t.Errorf("loop is %v, want an error", a)
		}
	})
}

// tcpdump shows a packet on lo once.
func TestLoopbackIsCapturedOnce(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		var b bytes.Buffer
		capture, err := lab.Capture(&b, emu.CaptureConfig{Points: []string{"*/*/lo"}})
		if err != nil {
			t.Fatal(err)
		}
		lab.Pod("c", "node1").Ping("127.0.0.1")
		capture.Close()
		all, err := pcap.ReadAll(&b)
		if err != nil || len(all.Packets) != 2 {
			t.Errorf("%d packets, %v, want request and reply", len(all.Packets), err)
		}
	})
}

// One node may have the whole cluster CIDR.
func TestNodeWithTheWholeClusterCIDR(t *testing.T) {
	emutest.Run(t, emu.Config{PodCIDR: netip.MustParsePrefix("10.9.0.0/24")}, func(t *testing.T, lab *emutest.Lab) {
		if _, err := lab.AddNode(emu.NodeConfig{PodCIDR: netip.MustParsePrefix("10.9.0.0/24")}); err != nil {
			t.Fatal(err)
		}
		a, b := lab.Pod("a", ""), lab.Pod("b", "")
		a.Ping(b.Addr().String())
	})
}

func TestBadArguments(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		p := lab.Pod("p", "")
		for what, f := range map[string]func() error{
			"AddService":       func() error { _, err := lab.AddService(nil); return err },
			"AddPodObject":     func() error { _, err := lab.AddPodObject(nil); return err },
			"RemovePod":        func() error { return lab.RemovePod(nil) },
			"SetEndpointSlice": func() error { return lab.SetEndpointSlice(nil) },
			"PingWith":         func() error { _, err := p.PingWith("p", stack.PingConfig{Size: 1 << 62}, time.Second); return err },
		} {
			if err := f(); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
	})
}
