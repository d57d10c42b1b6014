package conformance

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

// everything is a bit of all traffic that a cluster of two nodes has: pings,
// small and in fragments, HTTP over a cluster IP, a node port, several at once,
// and 127.0.0.1 between containers, UDP with and without an answer.
func everything(t *testing.T, lab *emutest.Lab) {
	client := lab.Pod("client", "node1")
	web := lab.Pod("web", "node2", 8080)
	duo := twoContainers(t, lab)
	udpPod(lab, "echo", "node2", 7)
	ext := lab.Host("ext")
	lab.Service("web", 80, 8080, 30002)
	if _, err := lab.AddService(udpService("echo", 7, 7)); err != nil {
		t.Fatal(err)
	}

	client.Ping("10.244.2.2")
	if r, err := client.PingWith(web.Addr().String(), stack.PingConfig{Size: 3992}, time.Second); err != nil || r.Err() != nil {
		t.Errorf("ping in fragments: %v, %v", err, r.Err())
	}
	sendUDP(t, &client.Machine, "10.244.2.2:9999", "nobody is there")
	wantEcho(t, client, "echo:7")
	wantBody(t, client.Get("http://web/hostname"), "web")
	wantBody(t, emutest.Get(t, &ext.Machine, "http://192.168.56.11:30002/hostname"), "web")
	wantBody(t, emutest.Get(t, &duo.Machine, "http://127.0.0.1:9090/container"), "second")
	atOnce(lab, func() { client.Ping("10.244.2.2") },
		func() { wantBody(t, client.Get("http://web/echo?msg=pod"), "pod") },
		func() { wantBody(t, emutest.Get(t, &ext.Machine, "http://192.168.56.12:30002/echo?msg=ext"), "ext") },
		func() { wantBody(t, emutest.Get(t, &duo.Machine, "http://127.0.0.1:8080/container"), "first") },
		func() { sendUDP(t, &duo.Machine, "127.0.0.1:9999", "nobody is there") },
	)
	lab.Sleep(10 * time.Second) // neighbours are asked again, connections close
}

// twoContainers adds a pod whose containers serve a port each.
func twoContainers(t *testing.T, lab *emutest.Lab) *emu.Pod {
	t.Helper()
	p, err := lab.AddPodObject(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "duo"},
		Spec: corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{
			{Name: "first", Image: "podwire", Ports: ports(8080)}, {Name: "second", Image: "podwire", Ports: ports(9090)},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantBody(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("GET = %q, want %q", got, want)
	}
}

// wantEcho sends a datagram and waits for it to come back.
func wantEcho(t *testing.T, p *emutest.Pod, to string) {
	t.Helper()
	c, err := p.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("marco")); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 64)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "marco" {
		t.Errorf("echo = %q, %v, want marco", buf[:max(n, 0)], err)
	}
}

// atOnce runs functions at the same instant and waits for all of them.
func atOnce(lab *emutest.Lab, list ...func()) {
	var wg sync.WaitGroup
	for _, f := range list {
		wg.Add(1)
		lab.Go(func() {
			defer wg.Done()
			f()
		})
	}
	wg.Wait()
}

// The file is clean: nothing in it is malformed, every checksum is right, every
// frame has an interface with a name and a datagram with an id, and that id
// stays through NAT and encapsulation, with remarks where they happen.
func TestPcapngIsClean(t *testing.T) {
	var ext *emu.Host
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		everything(t, lab)
		ext = lab.Hosts()[1]
	})
	seen := make(map[string]int)
	for _, f := range s.frames { // record has looked at each of them
		for _, field := range []string{"ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status"} {
			if f.get(field) == "1" {
				seen[field]++
			}
		}
	}
	for _, field := range []string{"ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status"} {
		if seen[field] < 20 {
			t.Errorf("%d frames with a good %s, want many", seen[field], field)
		}
	}
	ask := s.on(eth0(ext)).out().where("tcp.flags", syn, "ip.dst", "192.168.56.11").one(t, "SYN to the node port")
	var points, notes []string
	for _, f := range s.id(ask.id) {
		points = append(points, s.point(f)+" "+f.dir)
		if f.note != "" {
			notes = append(notes, f.note)
		}
	}
	wantList(t, "points of one datagram", points,
		"ext/eth0 out", "node1/eth0 in", "node1/flannel.1 out", "node1/eth0 out",
		"node2/eth0 in", "node2/flannel.1 in", "node2/cni0 out", "node2/veth(web) out", "web/eth0 in")
	last := s.id(ask.id).on("default/web/eth0").one(t, "SYN at the backend")
	from := netip.AddrPortFrom(ext.Addr(), uint16(ask.number(t, "tcp.srcport")))
	wantList(t, "remarks on one datagram", notes,
		"DNAT 192.168.56.11:30002 -> 10.244.2.2:8080; SNAT "+from.String()+" -> "+withPort(last.get("ip.src"), last.get("tcp.srcport")))
}
