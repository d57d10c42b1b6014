package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

// A scene is what a lab has put on its wires, as tshark reads it, and who is
// who in it.
type scene struct {
	frames
	macs map[string]string // MAC to "node1/flannel.1"
	veth map[string]string // "node1/veth6b8e..." to "node1/veth(p1a)"
}

// twoNodes is the reference cluster: node1 192.168.56.11 with pods in
// 10.244.1.0/24, node2 192.168.56.12 with pods in 10.244.2.0/24.
var twoNodes = emu.Config{Nodes: 2, Seed: 1}

// record plays something in a lab with everything captured, and reads the file
// with tshark when the lab is gone. Whatever the check is about, every frame must
// be clean. The test runs in parallel with others that
// do the same: most of its time is tshark's.
func record(t *testing.T, cfg emu.Config, play func(t *testing.T, lab *emutest.Lab)) *scene {
	t.Helper()
	needTshark(t)
	t.Parallel()
	s := &scene{}
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		done := captureTo(t, lab, path)
		play(t, lab)
		lab.Sleep(0)
		s.name(lab)
		done()
	})
	s.frames = decode(t, path)
	for _, f := range s.frames {
		wantClean(t, f)
	}
	return s
}

// captureTo starts capturing everything to a file. The caller ends it.
func captureTo(t *testing.T, lab *emutest.Lab, path string) (done func()) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := lab.Capture(f, emu.CaptureConfig{Comment: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// name notes who has which MAC, and which veth is whose.
func (s *scene) name(lab *emutest.Lab) {
	s.macs, s.veth = make(map[string]string), make(map[string]string)
	note := func(m *emu.Machine) {
		for _, d := range m.Stack().Devices() {
			s.macs[d.MAC.String()] = short(m.Name()) + "/" + d.Name
		}
	}
	for _, n := range lab.Nodes() {
		note(&n.Machine)
	}
	for _, h := range lab.Hosts() {
		note(&h.Machine)
	}
	for _, p := range lab.Pods() {
		note(&p.Machine)
		s.veth[p.Node().Name()+"/"+p.Peer()] = fmt.Sprintf("%s/veth(%s)", p.Node().Name(), short(p.Name()))
	}
}

// short is a pod's name without its namespace.
func short(name string) string { return strings.TrimPrefix(name, "default/") }

// point is the name of an interface with pods and veths as a person says them.
func (s *scene) point(f *frame) string {
	if v := s.veth[f.iface]; v != "" {
		return v
	}
	return short(f.iface)
}

func (s *scene) mac(m string) string {
	if n := s.macs[m]; n != "" {
		return n
	}
	return m
}

// hop describes a frame in one line: point and direction, MACs, addresses with
// ports, TTL, and of a tunnel the outer packet first.
func (s *scene) hop(f *frame) string {
	line := s.point(f) + " " + f.dir + ":"
	if f.tunnelled() {
		outer := fmt.Sprintf("%s > %s, %s > %s, ttl %s", s.mac(f.outer("eth.src")), s.mac(f.outer("eth.dst")),
			f.outer("ip.src"), f.outer("ip.dst"), f.outer("ip.ttl"))
		switch {
		case f.has("vxlan.vni"):
			outer += ", vni " + f.first("vxlan.vni")
		case f.has("udp.dstport"):
			outer += ", udp " + f.outer("udp.dstport")
		default:
			outer += ", proto " + f.outer("ip.proto")
		}
		line += " [" + outer + "]"
	}
	if f.depth["eth"] > 0 || f.depth["eth"] == 0 && !f.tunnelled() {
		line += fmt.Sprintf(" %s > %s,", s.mac(f.get("eth.src")), s.mac(f.get("eth.dst")))
	}
	return line + fmt.Sprintf(" %s > %s, ttl %s",
		withPort(f.get("ip.src"), f.get("tcp.srcport")), withPort(f.get("ip.dst"), f.get("tcp.dstport")), f.get("ip.ttl"))
}

func withPort(addr, port string) string {
	if port == "" {
		return addr
	}
	return addr + ":" + port
}

// wantPath compares the way of one datagram, point by point. In a line that is
// wanted, PORT stands for the number of the client's port.
func (s *scene) wantPath(t *testing.T, id, port string, want ...string) {
	t.Helper()
	var got []string
	for _, f := range s.id(id) {
		got = append(got, s.hop(f))
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "PORT", port)
	}
	if !slices.Equal(got, want) {
		t.Errorf("datagram %s passes\n\t%s\nwant\n\t%s", id, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// eth0 is the name of a machine's own interface in the capture.
func eth0(m interface{ Name() string }) string { return m.Name() + "/eth0" }

// veth is the name of the node's end of a pod's veth pair in the capture.
func veth(p *emutest.Pod) string { return p.Node().Name() + "/" + p.Peer() }

// macOf is the address of a machine's device.
func macOf(m interface{ Stack() *stack.Host }, device string) string {
	return m.Stack().Device(device).MAC.String()
}
