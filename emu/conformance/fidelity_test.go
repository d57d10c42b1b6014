package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/diff"
	"github.com/podwire/podwire/stack"
)

// The captures in testdata/kernel come from a cluster of Linux network
// namespaces with flannel's VXLAN and kube-proxy's iptables rules: pods p1a
// 10.244.1.2 and p1b 10.244.1.3 on node1, p2a 10.244.2.2 on node2. The same is
// emulated here and compared, packet by packet.

// kernelLab is that cluster with every neighbour known.
type kernelLab struct {
	*emutest.Lab
	t             *testing.T
	p1a, p1b, p2a *emutest.Pod
}

// asKernel plays a scenario in that cluster, captured, and returns the capture.
func asKernel(t *testing.T, play func(l *kernelLab)) *pcap.Capture {
	t.Helper()
	var file bytes.Buffer
	cable := emu.Underlay{}
	cable.Cable.Latency = 10 * time.Microsecond
	emutest.Run(t, emu.Config{Nodes: 2, Seed: 1, Underlay: cable}, func(t *testing.T, lab *emutest.Lab) {
		l := &kernelLab{Lab: lab, t: t, p1a: lab.Pod("p1a", "node1"), p1b: lab.Pod("p1b", "node1"), p2a: lab.Pod("p2a", "node2")}
		l.service("same", "10.96.0.101", "p1a", tcp(80))
		l.service("cross", "10.96.0.102", "p2a", tcp(80))
		l.service("none", "10.96.0.200", "nobody", tcp(80), corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53})
		for _, from := range []*emutest.Pod{l.p1a, l.p1b, l.p2a} {
			for _, to := range []string{"10.244.1.1", "10.244.1.2", "10.244.1.3", "10.244.2.2"} {
				if to != from.Addr().String() {
					from.Ping(to)
				}
			}
		}
		c, err := lab.Capture(&file, emu.CaptureConfig{})
		if err != nil {
			t.Fatal(err)
		}
		play(l)
		lab.Sleep(time.Second)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
	c, err := pcap.ReadAll(&file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tcp(port int32) corev1.ServicePort {
	return corev1.ServicePort{Name: "web", Port: port, TargetPort: intstr.FromInt32(8080)}
}

func (l *kernelLab) service(name, ip, app string, ports ...corev1.ServicePort) {
	l.t.Helper()
	_, err := l.AddService(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, Selector: map[string]string{"app": app}, Ports: ports},
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// exchange is what the two programs on the kernel did: the client says hello,
// the server answers with whom it sees, and both close. The answer has the
// port in words, so it is the one that the capture has. pause is the time
// that programs take between two calls.
func (l *kernelLab) exchange(client, server *emutest.Pod, address, answer string, serverCloses, clientCloses time.Duration) {
	l.t.Helper()
	ln, err := server.Listen("tcp", ":8080")
	if err != nil {
		l.t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	l.Go(func() {
		done <- func() error {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			buf := make([]byte, 100)
			if _, err := c.Read(buf); err != nil {
				return err
			}
			l.Sleep(80 * time.Microsecond)
			if _, err := io.WriteString(c, answer); err != nil {
				return err
			}
			l.Sleep(serverCloses)
			return c.Close()
		}()
	})
	c, err := client.Dial("tcp", address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Sleep(90 * time.Microsecond)
	io.WriteString(c, "hello")
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != answer {
		l.t.Errorf("read %q, %v, want %q", buf[:n], err, answer)
	}
	l.Sleep(clientCloses)
	c.Close()
	if err := <-done; err != nil {
		l.t.Error(err)
	}
}

// refused is a connection and a datagram to a Service without endpoints.
func (l *kernelLab) refused() {
	l.t.Helper()
	if c, err := l.p1b.Dial("tcp", "10.96.0.200:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		l.t.Errorf("dial = %v, %v, want connection refused", c, err)
	}
	l.Sleep(100 * time.Millisecond)
	c, err := l.p1b.Dial("udp", "10.96.0.200:53")
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "xxxxx"); err != nil {
		l.t.Error(err)
	}
	l.Sleep(time.Millisecond)
}

func (l *kernelLab) ping() {
	l.t.Helper()
	if r, err := l.p1a.PingWith("10.244.2.2", stack.PingConfig{Size: 8}, time.Second); err != nil || r.Err() != nil {
		l.t.Errorf("ping: %v, %v", err, r.Err())
	}
}

// kernelScenes say how each capture came about and where it was taken.
var kernelScenes = []struct {
	name   string
	play   func(l *kernelLab)
	points [][2]string // capture, interface
}{
	{"ping", (*kernelLab).ping, [][2]string{
		{"flannel-vxlan-icmp-p1a-eth0", "default/p1a/eth0"}, {"icmp-n1-cni0", "node1/cni0"}, {"icmp-n1-flannel.1", "node1/flannel.1"},
		{"icmp-n1-eth0", "node1/eth0"}, {"icmp-n2-eth0", "node2/eth0"},
	}},
	{"same node", func(l *kernelLab) {
		l.exchange(l.p1b, l.p1a, "10.96.0.101:80", "from vm peer ('10.244.1.3', 55264)\nhello", 111*time.Microsecond, 130*time.Microsecond)
	}, [][2]string{{"svc-same-p1a-eth0", "default/p1a/eth0"}, {"svc-same-p1b-eth0", "default/p1b/eth0"}}},
	{"across nodes", func(l *kernelLab) {
		l.exchange(l.p1b, l.p2a, "10.96.0.102:80", "from vm peer ('10.244.1.3', 34540)\nhello", 70*time.Microsecond, 140*time.Microsecond)
	}, [][2]string{{"svc-cross-n1-cni0", "node1/cni0"}, {"svc-cross-n1-flannel.1", "node1/flannel.1"}, {"svc-cross-p1b-eth0", "default/p1b/eth0"}}},
	{"hairpin", func(l *kernelLab) {
		l.exchange(l.p1a, l.p1a, "10.96.0.101:80", "from vm peer ('10.244.1.1', 43199)\nhello", 89*time.Microsecond, 86*time.Microsecond)
	}, [][2]string{{"svc-hair-p1a-eth0", "default/p1a/eth0"}}},
	{"no endpoints", (*kernelLab).refused, [][2]string{{"svc-rej-p1b-eth0", "default/p1b/eth0"}}},
}

// What differs from the kernel is what FIDELITY.md says, no less and no more.
func TestFidelity(t *testing.T) {
	found := &fidelity{at: map[[3]string][]string{}}
	for _, s := range kernelScenes {
		t.Run(s.name, func(t *testing.T) {
			c := asKernel(t, s.play)
			for _, p := range s.points {
				kernel, err := pcap.ReadFile(filepath.Join("testdata", "kernel", p[0]+".pcap"))
				if err != nil {
					t.Fatal(err)
				}
				r, err := diff.Captures(kernel.Packets, c.On(p[1]), pcap.Ethernet, pcap.Ethernet, diff.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if r.Paired == 0 {
					t.Errorf("%s: no packet has a counterpart on %s", p[0], p[1])
				}
				found.add(p[0], r)
			}
		})
	}
	if t.Failed() {
		return
	}
	got, want := found.rows(), documented(t)
	for _, row := range got {
		if !slices.Contains(want, row) {
			t.Errorf("FIDELITY.md does not say\n%s REASON |", row)
		}
	}
	for _, row := range want {
		if !slices.Contains(got, row) {
			t.Errorf("FIDELITY.md says, and it is not so\n%s", row)
		}
	}
}

// fidelity gathers differences by what they are: field, kernel's value,
// podwire's value. at lists captures with the numbers of the packets.
type fidelity struct {
	at    map[[3]string][]string
	order [][3]string
}

func (f *fidelity) add(capture string, r diff.Report) {
	packets := map[[3]string][]int{}
	var order [][3]string
	for _, d := range r.Differences {
		k, n := [3]string{d.Field, d.A, d.B}, d.PacketA
		switch d.Kind {
		case diff.KindMissing:
			k[1], k[2] = what(d.A), "none"
		case diff.KindExtra:
			k[1], k[2], n = "none", what(d.B), d.PacketB
		}
		if packets[k] == nil {
			order = append(order, k)
		}
		packets[k] = append(packets[k], n+1)
	}
	for _, k := range order {
		if f.at[k] == nil {
			f.order = append(f.order, k)
		}
		f.at[k] = append(f.at[k], capture+": "+ranges(packets[k]))
	}
}

// what is what a packet is without its addresses: "router solicitation", not
// whose.
func what(s string) string {
	var words []string
	for _, w := range strings.Fields(s) {
		if strings.ContainsAny(w, ".:") {
			break
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// ranges writes 1, 2, 3, 7 as "1-3 7".
func ranges(list []int) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprint(&b, list[i])
		if j > i {
			fmt.Fprintf(&b, "-%d", list[j])
		}
		i = j + 1
	}
	return b.String()
}

// rows are the table of FIDELITY.md without the last column.
func (f *fidelity) rows() []string {
	var out []string
	for _, k := range f.order {
		out = append(out, fmt.Sprintf("| %s | %s | %s | %s |", strings.Join(f.at[k], "; "), k[0], k[1], k[2]))
	}
	return out
}

// documented reads the table, and wants a reason in each row.
func documented(t *testing.T) []string {
	t.Helper()
	file, err := os.ReadFile("../../FIDELITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(file)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || strings.Contains(line, "---") || strings.Contains(line, "capture: packets") {
			continue
		}
		if strings.TrimSpace(cells[5]) == "" {
			t.Errorf("FIDELITY.md gives no reason: %s", line)
		}
		out = append(out, strings.Join(cells[:5], "|")+"|")
	}
	if len(out) == 0 {
		t.Fatal("FIDELITY.md has no table")
	}
	return out
}
