package stack

import (
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// looseHost is a host for fuzzing: in real time, without a bubble, and with a
// device whose frames go nowhere.
func looseHost(t testing.TB) (h *Host, d *Device) {
	drv := link.NewDriver(link.DriverConfig{})
	drv.Do(func() {
		h = NewHost(drv, Config{Name: "fuzz", Forward: true, BridgeNetfilter: true})
		var err error
		d, err = h.AddEthernet("eth0", link.LocalMAC(1), 1500, drv.NewPort("eth0", (*link.Frame).Release))
		if err == nil {
			err = d.AddAddr(prefix("10.0.0.1/24"))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { h.Close(); drv.Close() })
	return h, d
}

// receive gives a frame to a device and lets the driver finish what follows.
func receive(h *Host, d *Device, b []byte) {
	if len(b) > 1<<16 {
		b = b[:1<<16]
	}
	h.drv.Do(func() {
		f := h.drv.NewFrame(len(b))
		copy(f.Bytes(), b)
		d.Receive(f)
	})
}

// settle waits until the driver has nothing left to do at once, drops what
// waits for neighbours and wants every frame released.
func settle(t testing.TB, h *Host) {
	t.Helper()
	done := make(chan struct{})
	var check func()
	rounds := 0
	check = func() {
		if rounds++; rounds < 8 { // what a frame causes may cause more
			h.drv.WhenIdle(func() { h.drv.AfterFunc(0, time.Nanosecond, check) })
			return
		}
		for _, n := range h.neigh.of(nil) {
			h.neigh.remove(n)
		}
		if live := h.drv.LiveFrames(); live != 0 {
			t.Errorf("%d frames were never released", live)
		}
		close(done)
	}
	h.drv.Do(check)
	<-done
}
