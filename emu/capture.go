package emu

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/stack"
)

// CaptureConfig says what to capture. The zero value is everything.
type CaptureConfig struct {
	// Points are patterns of interface names in the manner of path.Match:
	// "node1/*", "*/*/eth0". If empty, all.
	Points []string

	// Comment goes into the head of the file.
	Comment string
}

// A Capture writes what passes the interfaces of a lab to a pcapng file: one
// named interface per device, nanoseconds of the lab's clock, and the same
// packet id wherever a datagram passes, through NAT and tunnels.
type Capture struct {
	lab    *Lab
	w      *pcap.Writer
	cfg    CaptureConfig
	ifaces map[*link.Point]*iface
	packet pcap.Packet
	note   [1]string
	err    error
	closed bool
}

// iface is a device that is captured. It enters the file with its first frame,
// or when it is set up, whichever comes first: by then it has its addresses.
type iface struct {
	dev     *stack.Device
	id      int
	written bool
}

// Capture starts capturing. Machines that come later are captured too. The
// caller closes w after the capture.
func (l *Lab) Capture(w io.Writer, cfg CaptureConfig) (*Capture, error) {
	for _, p := range cfg.Points {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("emu: capture: pattern %q: %w", p, err)
		}
	}
	pw, err := pcap.NewWriter(w, pcap.Section{
		Application: "podwire", OS: "podwire: emulated Linux hosts, design " + l.cfg.Design,
		Comment: strings.TrimSpace(fmt.Sprintf("%s\nseed %d", cfg.Comment, l.cfg.Seed)),
	})
	if err != nil {
		return nil, err
	}
	return l.CaptureTo(pw, cfg)
}

// CaptureTo starts capturing with a writer that the caller has made. Closing
// the capture closes it.
func (l *Lab) CaptureTo(pw *pcap.Writer, cfg CaptureConfig) (*Capture, error) {
	c := &Capture{lab: l, w: pw, cfg: cfg, ifaces: make(map[*link.Point]*iface)}
	var err error
	l.drv.Do(func() {
		if l.closed {
			err = errClosed
			return
		}
		l.captures = append(l.captures, c)
		l.drv.WatchSecrets(c)
		for _, m := range l.sortedMachines() {
			c.watch(m.stack)
		}
		err = c.err
	})
	return c, err
}

// sortedMachines lists the machines in the order nodes, pods, hosts; the
// caller holds the lock.
func (l *Lab) sortedMachines() []*Machine {
	var list []*Machine
	for _, n := range l.nodes {
		list = append(list, &n.Machine)
	}
	for _, p := range l.pods {
		list = append(list, &p.Machine)
	}
	for _, h := range l.hosts {
		list = append(list, &h.Machine)
	}
	return list
}

// newDevice shows a device that was just made to the captures that are running.
func (l *Lab) newDevice(d *stack.Device) {
	for _, c := range l.captures {
		c.add(d)
	}
}

// setUp tells the captures that the devices of h have their addresses.
func (l *Lab) setUp(h *stack.Host) {
	for _, c := range l.captures {
		c.watch(h)
	}
}

// watch writes those devices of h that are wanted and new.
func (c *Capture) watch(h *stack.Host) {
	for _, d := range h.Devices() {
		if i := c.add(d); i != nil && !i.written {
			c.write(i)
		}
	}
}

// add starts watching a device if it is wanted; nil if it is not.
func (c *Capture) add(d *stack.Device) *iface {
	p := d.Point()
	if i, ok := c.ifaces[p]; ok || !c.wants(p.Name) {
		return i
	}
	i := &iface{dev: d}
	c.ifaces[p] = i
	p.Watch(c)
	return i
}

// write puts an interface into the file.
func (c *Capture) write(i *iface) {
	d := i.dev
	id, err := c.w.AddInterface(pcap.Interface{
		Name: d.Point().Name, Description: d.Describe(), LinkType: pcap.LinkType(d.Point().Type), MAC: d.MAC, Addrs: d.Addrs(),
	})
	c.fail(err)
	i.id, i.written = id, true
}

func (c *Capture) wants(name string) bool {
	if len(c.cfg.Points) == 0 {
		return true
	}
	return slices.ContainsFunc(c.cfg.Points, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok || pattern == "all"
	})
}

func (c *Capture) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Observe implements link.Observer. A frame that is dropped was captured when
// it came in; the drop itself is nothing that a wire would show.
func (c *Capture) Observe(o *link.Observation) {
	if o.Drop != "" || c.err != nil || c.closed {
		return
	}
	i := c.ifaces[o.Point]
	if !i.written {
		c.write(i)
	}
	p := &c.packet
	*p = pcap.Packet{
		Interface: i.id, Time: c.lab.drv.Epoch().Add(o.Time), Data: o.Bytes, ID: o.ID,
		Direction: pcap.Direction(o.Direction), Reception: reception(o.Bytes, o.Point.Type),
	}
	if o.Note != "" {
		c.note[0] = o.Note
		p.Comments = c.note[:]
	}
	c.fail(c.w.WritePacket(p))
}

// ObserveSecret implements link.SecretObserver: keys come before what they
// decrypt.
func (c *Capture) ObserveSecret(s link.Secret) {
	if c.err == nil && !c.closed {
		c.fail(c.w.WriteSecrets(s.Kind, []byte(s.Text)))
	}
}

// reception tells how a frame was addressed.
func reception(b []byte, t link.LinkType) pcap.Reception {
	if t != link.LinkEthernet || len(b) < link.EthernetHeader {
		return pcap.Unicast
	}
	switch dst := link.DstMAC(b); {
	case dst.IsBroadcast():
		return pcap.Broadcast
	case dst.IsMulticast():
		return pcap.Multicast
	}
	return pcap.Unicast
}

// Close ends the capture: names of all addresses, counters, and the first
// error that writing met. It does not close the underlying writer.
func (c *Capture) Close() error {
	c.lab.drv.Do(func() {
		if c.closed {
			return
		}
		c.closed = true
		c.lab.drv.UnwatchSecrets(c)
		for p := range c.ifaces {
			p.Unwatch(c)
		}
		c.lab.captures = slices.DeleteFunc(c.lab.captures, func(o *Capture) bool { return o == c })
		if c.err == nil {
			c.fail(c.w.WriteNames(c.lab.addressNames()))
			c.fail(c.w.Close())
		}
	})
	return c.err
}

// addressNames lists what the lab calls its addresses, for Wireshark to show.
// An address that several machines have gets no name.
func (l *Lab) addressNames() []pcap.Name {
	owners := make(map[netip.Addr][]string)
	for name, m := range l.machines {
		owners[m.addr] = append(owners[m.addr], name)
	}
	for _, t := range l.taps {
		owners[t.plug.addr] = append(owners[t.plug.addr], t.name)
	}
	var out []pcap.Name
	for a, names := range owners {
		if len(names) == 1 {
			out = append(out, pcap.Name{Addr: a, Name: strings.ReplaceAll(names[0], "/", ".")})
		}
	}
	for _, s := range l.cluster.Services() {
		if a, err := netip.ParseAddr(s.Spec.ClusterIP); err == nil {
			out = append(out, pcap.Name{Addr: a, Name: s.Name + "." + s.Namespace + ".svc.cluster.local"})
		}
	}
	slices.SortFunc(out, func(a, b pcap.Name) int {
		if c := a.Addr.Compare(b.Addr); c != 0 {
			return c
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return out
}
