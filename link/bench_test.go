package link

import (
	"testing"
	"time"
)

// BenchmarkWire is one frame of MTU size over one cable, from Send to the
// receiver, 64 at a time.
func BenchmarkWire(b *testing.B) {
	for _, c := range []struct {
		name string
		cfg  WireConfig
	}{
		{"ideal", WireConfig{}},
		{"latency", WireConfig{Latency: time.Nanosecond}},
		{"rate", WireConfig{Rate: 1e14}},
		{"loss", WireConfig{Loss: 0.01}},
	} {
		b.Run("cable="+c.name, func(b *testing.B) { benchWire(b, c.cfg) })
	}
}

// benchWire runs the driver's loop by hand, so that only the cable's work is
// measured and not the hand-over between goroutines.
func benchWire(b *testing.B, cfg WireConfig) {
	d := NewDriver(DriverConfig{})
	defer d.Close()
	w := d.NewWire("w", cfg)
	w.B.Bind(func(f *Frame) { f.Release() })
	d.mu.Lock()
	defer d.mu.Unlock()
	const batch = 64
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		for range min(batch, b.N-n) {
			w.A.Send(d.NewFrame(1514))
		}
		d.now += time.Microsecond
		d.run()
	}
}
