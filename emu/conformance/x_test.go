package conformance
import ("testing";"github.com/podwire/podwire/emu/emutest")
func TestX(t *testing.T) {
	var a,b *emutest.Pod
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		a, b = lab.Pod("p1a","node1"), lab.Pod("p2a","node2",8080)
		lab.Service("p2a", 80, 8080, 30002)
		a.Ping(b.Addr().String())
		a.Get("http://p2a/")
	})
	for _, f := range s.frames { t.Log(f.first("frame.number"), f.id, f.at, s.hop(f), f.first("tcp.flags"), f.first("ip.checksum.status"),f.first("udp.checksum.status"),f.first("tcp.checksum.status"),f.first("icmp.type"), f.note, f.first("tcp.options"), f.fields["ip.flags.df"], f.fields["vxlan.flags"], f.first("frame.comment"), f.fields["ip.id"]) }
}
