package conformance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// greeters makes pods that tell who connects to port 8080 their name and then
// wait for the client to hang up, and a Service "web" in front of them. For
// thousands of connections that is less work than HTTP.
func greeters(t *testing.T, lab *emutest.Lab, affinity int32, names ...string) map[string]*emutest.Pod {
	t.Helper()
	pods := make(map[string]*emutest.Pod)
	for i, name := range names {
		p := lab.AddPod(emu.PodConfig{Name: name, Node: fmt.Sprintf("node%d", 1+i%2), Labels: map[string]string{"app": "web"}})
		ln, err := p.Listen("tcp", ":8080")
		if err != nil {
			t.Fatal(err)
		}
		lab.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				lab.Go(func() {
					io.WriteString(c, name)
					io.Copy(io.Discard, c)
					c.Close()
				})
			}
		})
		pods[name] = p
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: metav1.NamespaceDefault}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	if affinity != 0 {
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		svc.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &affinity}}
	}
	if _, err := lab.AddService(svc); err != nil {
		t.Fatal(err)
	}
	return pods
}

// greeting connects to web and returns the connection and who has answered.
func greeting(t *testing.T, from *emutest.Pod) (net.Conn, string) {
	t.Helper()
	c, err := from.Dial("tcp", "web:80")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return c, string(buf[:n])
}

// greeted is greeting for one who hangs up at once.
func greeted(t *testing.T, from *emutest.Pod) string {
	t.Helper()
	c, name := greeting(t, from)
	c.Close()
	return name
}

// S15: each of three endpoints gets a third of 9,000 new connections, in random
// order: after each endpoint, any may follow, itself too.
func TestS15EvenSplit(t *testing.T) {
	skipUnderRace(t)
	inModes(t, s15EvenSplit, natModes...)
}

func s15EvenSplit(t *testing.T, cfg emu.Config) {
	const connections = 9000
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		greeters(t, lab, 0, "a", "b", "c")
		client := lab.Pod("client", "node1")
		count, follows := map[string]int{}, map[[2]string]int{}
		last := ""
		for range connections {
			name := greeted(t, client)
			count[name]++
			follows[[2]string{last, name}]++
			last = name
		}
		for _, name := range []string{"a", "b", "c"} {
			if share := float64(count[name]) / connections; share < 1./3-0.02 || share > 1./3+0.02 {
				t.Errorf("%s got %d of %d connections, %.4f of all, want a third within 0.02", name, count[name], connections, share)
			}
			for _, next := range []string{"a", "b", "c"} {
				if n := follows[[2]string{name, next}]; n < 850 || n > 1150 {
					t.Errorf("%s followed %s %d times, want about 1000", next, name, n)
				}
			}
		}
	})
}

// S15, the other order: in ipvs mode with rr each connection goes to the endpoint
// after the one before, on each node for itself.
func TestS15StrictRotation(t *testing.T) {
	skipUnderRace(t)
	const connections = 9000
	cfg := twoNodes
	cfg.Proxy = emu.ProxyIPVS
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		greeters(t, lab, 0, "a", "b", "c")
		clients := []*emutest.Pod{lab.Pod("client1", "node1"), lab.Pod("client2", "node2")}
		seen := make([][]string, len(clients))
		for i := range connections {
			at := i % 4 / 3 // three on one node, then one on the other
			seen[at] = append(seen[at], greeted(t, clients[at]))
		}
		for at, names := range seen {
			for i, name := range names {
				if i >= 3 && name != names[i-3] || i > 0 && name == names[i-1] {
					t.Fatalf("client%d: connection %d went to %s after %v, want strict rotation", at+1, i, name, names[max(0, i-3):i])
				}
			}
		}
	})
}

// S16: with session affinity a client keeps its backend from connection to
// connection, whatever their source ports, until it has made none for the whole
// time; other clients have backends of their own.
func TestS16SessionAffinity(t *testing.T) { inModes(t, s16SessionAffinity, kubeProxyModes...) }

func s16SessionAffinity(t *testing.T, cfg emu.Config) {
	const timeout = 60
	// The last moment that counts, and the first that does not: xt_recent compares
	// with <=, a set of nf_tables with <.
	last, gone := timeout*time.Second, timeout*time.Second+time.Millisecond
	switch cfg.Proxy {
	case emu.ProxyNFTables:
		last, gone = last-time.Millisecond, last
	case emu.ProxyIPVS:
		// A template stays on for another minute, again and again, while a connection
		// that came from it is there: two minutes in TIME_WAIT.
		last, gone = 3*timeout*time.Second-time.Millisecond, 3*timeout*time.Second
	}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		greeters(t, lab, timeout, "a", "b", "c", "d", "e", "f", "g", "h")
		client := lab.Pod("client", "node1")
		home := greeted(t, client)
		for i := range 100 {
			lab.Sleep(last)
			if name := greeted(t, client); name != home {
				t.Fatalf("connection %d, %v after the one before, went to %s, want %s", i+1, last, name, home)
			}
		}
		others := map[string]bool{}
		for i := range 20 {
			others[greeted(t, lab.Pod(fmt.Sprintf("other%d", i), "node1"))] = true
		}
		if len(others) < 4 {
			t.Errorf("20 other clients have %d backends, want most of 8", len(others))
		}
		moved := 0
		for range 20 {
			lab.Sleep(gone)
			name := greeted(t, client)
			if name != home {
				moved++
			}
			home = name
		}
		if moved < 12 { // 20 * 7/8 is expected
			t.Errorf("of 20 connections, each %v after the one before, %d went elsewhere, want most", gone, moved)
		}
	})
}

// S17: an established connection stays with its backend when that is killed;
// what is new goes elsewhere.
func TestS17BackendKilled(t *testing.T) { inModes(t, s17BackendKilled, kubeProxyModes...) }

func s17BackendKilled(t *testing.T, cfg emu.Config) {
	var client, old *emutest.Pod
	var home, port string
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		pods := greeters(t, lab, 0, "a", "b")
		client = lab.Pod("client", "node1")
		var c net.Conn
		c, home = greeting(t, client)
		defer c.Close()
		_, port, _ = net.SplitHostPort(c.LocalAddr().String())
		old = pods[home]
		old.SetLink(false) // the node dies, not the process: nobody says goodbye
		if err := lab.RemovePod(old.Pod); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if name := greeted(t, client); name == home {
				t.Errorf("a new connection went to %s, which is gone", name)
			}
		}
		if _, err := c.Write([]byte("still there?")); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(lab.Deadline(20 * time.Second))
		if n, err := c.Read(make([]byte, 32)); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("read on the old connection = %d, %v, want a timeout or host unreachable", n, err)
		}
	})
	var sent frames
	for _, f := range s.on("node1/cni0", "node1/flannel.1").where("tcp.srcport", port) {
		if f.get("ip.src") == client.Addr().String() && f.get("tcp.dstport") == "8080" {
			sent = append(sent, f)
		}
	}
	for _, f := range sent.some(t, "segments of the old connection behind the DNAT") {
		f.want(t, "ip.dst", old.Addr().String())
	}
	retries := slices.DeleteFunc(slices.Clone(sent), func(f *frame) bool { return f.get("tcp.flags") != "0x0018" })
	if len(retries) < 2 {
		t.Errorf("%d segments with data to the backend that is gone, want retransmissions", len(retries))
	}
}

// skipUnderRace leaves out what repeats one thing thousands of times: ten times
// as long, it would find no other race.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("thousands of connections; the plain run has it")
	}
}
