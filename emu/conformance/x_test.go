package conformance
import ("testing";"time";"github.com/podwire/podwire/emu/emutest";"github.com/podwire/podwire/emu";"github.com/podwire/podwire/stack")
func TestX12(t *testing.T) {
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		a, _ := lab.Pod("p1a","node1"), lab.Pod("p2a","node2",8080)
		r, err := a.PingWith("10.244.2.2", stack.PingConfig{Size: 4000-28+0}, time.Second)
		t.Log(r, err)
	})
	for _, f := range s.frames { t.Log(f.id, f.at, s.hop(f), f.fields["ip.len"], f.fields["ip.frag_offset"], f.fields["ip.id"], f.first("frame.len")) }
}
func TestX13(t *testing.T) {
	s := record(t, emu.Config{Nodes:2}, func(t *testing.T, lab *emutest.Lab) {
		a, _ := lab.Pod("p1a","node1"), lab.Pod("p2a","node2",8080)
		for _, n := range lab.Nodes() { setMTU(t, lab, n.Stack(), "eth0", 1400) }
		r, err := a.PingWith("10.244.2.2", stack.PingConfig{Size: 1422, DontFragment:true}, time.Second)
		t.Log(r, err)
	})
	for _, f := range s.frames { t.Log(f.id, f.at, s.hop(f), f.fields["ip.len"], f.fields["ip.frag_offset"], f.fields["ip.id"], f.first("frame.len")) }
}
