package conformance

import (
	"encoding/hex"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
)

// V15: VXLAN with a VNI that the node does not have, without the I flag, or with
// a bit that means something to nobody is dropped without a word; a UDP port that nobody has is answered as any other.
func TestV15ForeignVXLAN(t *testing.T) {
	payload := func(header string) string {
		b, err := hex.DecodeString(header +
			"ffffffffffff" + "020000000001" + "0806" + // a broadcast ARP request inside
			"0001080006040001" + "020000000001" + "0af40109" + "000000000000" + "0af40102")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var ext *emu.Host
	var started time.Duration
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("p1a", "node1")
		ext = lab.Host("ext")
		c, err := ext.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		lab.Sleep(time.Second) // the pod has announced itself
		started = lab.Now()
		writeTo(t, c, "192.168.56.11:8472", payload("0800000000000200")) // VNI 2
		writeTo(t, c, "192.168.56.11:8472", payload("0000000000000100")) // no I flag
		writeTo(t, c, "192.168.56.11:8472", payload("0800000000000101")) // a reserved bit
		writeTo(t, c, "192.168.56.11:4789", payload("0800000000000100")) // nobody listens
		lab.Sleep(5 * time.Second)
		wantDrops(t, lab, "node1", map[link.Reason]uint64{overlay.DropVNI: 1, overlay.DropBadVXLAN: 2})
	})
	got := s.on("node1/eth0").in().filter(func(f *frame) bool { return f.outer("udp.dstport") != "" && !f.isError() })
	if len(got) != 4 {
		t.Fatalf("node1 received %d datagrams, want 4: %v", len(got), got)
	}
	f := s.on(eth0(ext)).in().errors().one(t, "ICMP error at the sender")
	f.want(t, "icmp.type", "3", "icmp.code", "3", "ip.src", "192.168.56.11", "ip.dst", ext.Addr().String())
	if got := f.fields["udp.dstport"]; !slices.Equal(got, []string{"4789"}) {
		t.Errorf("error about UDP ports %v, want 4789 alone", got)
	}
	s.since(started).on("node1/flannel.1", "node1/cni0", "default/p1a/eth0").none(t, "packet let in")
	s.since(started).on("node1/eth0").out().having("ip.src").one(t, "answer of the node")
}

// wantDrops compares what a node's VXLAN device has counted.
func wantDrops(t *testing.T, lab *emutest.Lab, node string, want map[link.Reason]uint64) {
	t.Helper()
	got := make(map[link.Reason]uint64)
	vtep := lab.Node(node).Stack().Device("flannel.1").Point()
	lab.Driver().Do(func() {
		vtep.EachDrop(func(why link.Reason, n uint64) { got[why] = n })
	})
	if !maps.Equal(got, want) {
		t.Errorf("%s/flannel.1 has dropped %v, want %v", node, got, want)
	}
}
