package stack_test

import (
	"testing"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// A new MTU is the device's and, of a port, the bridge's; what no device can
// have changes nothing.
func TestSetMTU(t *testing.T) {
	drv := link.NewDriver(link.DriverConfig{})
	defer drv.Close()
	drv.Do(func() {
		h := stack.NewHost(drv, stack.Config{Name: "node"})
		br, err := h.AddBridge("cni0", link.MAC{2, 0, 0, 0, 0, 1}, 1450)
		if err != nil {
			t.Fatal(err)
		}
		_, end := drv.NewVeth("pod/eth0", "node/veth0")
		d, port, err := h.AddBridgePort(br, "veth0", link.MAC{2, 0, 0, 0, 0, 2}, 1450, end)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			mtu, want int
			ok        bool
		}{{1500, 1500, true}, {68, 68, true}, {65535, 65535, true}, {67, 65535, false}, {65536, 65535, false}, {-1, 65535, false}} {
			if err := d.SetMTU(x.mtu); (err == nil) != x.ok {
				t.Errorf("SetMTU(%d) = %v, want success %v", x.mtu, err, x.ok)
			}
			if d.MTU != x.want || port.MTU != x.want {
				t.Errorf("after SetMTU(%d): device %d, port %d, want %d", x.mtu, d.MTU, port.MTU, x.want)
			}
		}
		if err := br.SetMTU(1400); err != nil || br.MTU != 1400 {
			t.Errorf("SetMTU(1400) of the bridge = %v, MTU %d, want 1400", err, br.MTU)
		}
	})
}
