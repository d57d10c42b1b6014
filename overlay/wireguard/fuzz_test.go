package wireguard

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/podwire/podwire/link"
)

// FuzzReceive: whatever comes in, nothing panics, no frame is lost, and nothing
// is sent to somebody who has not shown a right mac1.
func FuzzReceive(f *testing.F) {
	for _, n := range []int{0, 3, 4, InitiationSize, ResponseSize, CookieSize, KeepaliveSize, KeepaliveSize + 16, InitiationSize - 1} {
		for typ := range byte(6) {
			b := make([]byte, n)
			if n > 0 {
				b[0] = typ
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<15 {
			return
		}
		drv := link.NewDriver(link.DriverConfig{})
		defer drv.Close()
		drv.Do(func() {
			rng := rand.New(rand.NewPCG(1, 1))
			d, err := New(Config{
				Driver: drv, PrivateKey: NewPrivateKey(rng), Rand: rng, MTU: 1420,
				Send:    func(netip.AddrPort, byte, *link.Frame) { t.Error("an answer to garbage") },
				Deliver: func(*link.Frame, byte) { t.Error("garbage delivered") },
			})
			must(t, err)
			must(t, d.AddPeer(PeerConfig{PublicKey: NewPrivateKey(rng).Public()}))
			frame := drv.NewFrame(len(b))
			copy(frame.Bytes(), b)
			d.Receive(netip.MustParseAddrPort("192.0.2.1:1"), 0, frame)
			if n := drv.LiveFrames(); n != 0 {
				t.Errorf("%d frames never released", n)
			}
		})
	})
}
