package explain

import (
	"testing"

	"github.com/podwire/podwire/link"
)

// FuzzLayers: no frame, cut short or forged, makes the reading of headers panic,
// and what it returns can be asked for everything.
func FuzzLayers(f *testing.F) {
	ip := func(proto byte, payload ...byte) []byte {
		b := make([]byte, 20, 20+len(payload))
		b[0], b[8], b[9] = 0x45, 64, proto
		return append(b, payload...)
	}
	echo := ip(protoICMP, echoRequest, 0, 0, 0, 0, 7, 0, 1)
	f.Add(echo)
	f.Add(ip(protoIPIP, echo...))
	f.Add(ip(protoICMP, append([]byte{icmpUnreachable, 4, 0, 0, 0, 0, 5, 0xaa}, echo...)...))
	f.Add(ip(protoTCP, make([]byte, 20)...))
	f.Add(ip(protoUDP, append([]byte{0, 9, 0x20, 0x5d, 0, 0, 0, 0}, echo...)...))                                     // flannel's UDP 8285
	f.Add(ip(protoUDP, append([]byte{0, 9, 0x21, 0x18, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0}, make([]byte, 42)...)...)) // VXLAN
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, typ := range []link.LinkType{link.LinkRaw, link.LinkEthernet} {
			for i, l := range Layers(typ, b) {
				if len(l.IP) < 28 || !l.Source().Is4() || !l.Target().Is4() {
					t.Fatalf("layer %d is %+v, want a packet", i, l)
				}
				tupleOf(l.IP)
				quoted(l.IP)
				if describe(l.IP) == "" {
					t.Fatalf("layer %d has no description", i)
				}
			}
		}
		s := sight{point: &link.Point{Type: link.LinkEthernet}, raw: b}
		arp(&s)
	})
}
