// Package link is the wiring of an emulated network: frames, ports, cables,
// learning bridges, capture points, and the driver that owns their time.
//
//	d := link.NewDriver(link.DriverConfig{})
//	defer d.Close()
//	w := d.NewWire("cable", link.WireConfig{Latency: 250 * time.Millisecond})
//	w.B.Bind(func(f *link.Frame) { fmt.Println(d.Now(), f.Len()); f.Release() })
//	d.Do(func() { w.A.Send(d.NewFrame(64)) })
//
// The package knows Ethernet and nothing above it.
//
// # One lock, one order
//
// Everything that moves a frame runs with the driver's lock held, so no type
// here has a lock of its own. A goroutine that is not the driver's enters with
// [Driver.Do]. Events run one at a time, ordered by time, then by source, then
// by the order in which that source made them; so what happens at one instant
// never depends on which goroutine was scheduled first.
//
// # Ownership
//
// A [Frame] has one owner. Whoever is handed a frame either hands it on or
// calls [Frame.Release]; nobody keeps a slice of its bytes afterwards.
//
// # The outside
//
// In real time a [Splice] joins the end of a cable to something that reads and
// writes whole frames, such as a TAP device of the kernel.
package link
