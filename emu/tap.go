package emu

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/podwire/podwire/emu/tap"
	"github.com/podwire/podwire/link"
)

// A TAP is a machine outside the cluster that is real: the kernel that this
// process runs on, or whatever else it is bridged to. Its cable to a segment ends
// in a TAP device. It has a place and a name in the lab as a [Host] has, but its
// sockets and tables are the kernel's.
type TAP struct {
	lab    *Lab
	name   string
	device string
	plug   plug
	down   bool // the cable was pulled
	conn   io.ReadWriteCloser
	splice *link.Splice
}

// TAPConfig describes a TAP.
type TAPConfig struct {
	Name    string           // unique in the lab
	Device  string           // of the kernel's device, at most 15 bytes; if empty, Name
	Segment string           // of the underlay; if empty, the one of Addr, else the first
	Addr    netip.Addr       // the kernel's, on the segment; if zero, a free one from the upper end
	Cable   *link.WireConfig // nil for the segment's own kind

	// Routes are the kernel's over the device; see [Lab.TAPRoutes]. Unlike a
	// machine of the lab it gets none by itself, for it has others to keep.
	Routes []Route

	// Netns is the network namespace to make the device in, by name or path; see
	// tap.Config. If empty, that of the thread that calls AddTAP.
	Netns string

	// Conn, if set, takes the place of a device: each Read returns a frame, each
	// Write takes one. The lab closes it. Netns and Routes have no meaning then.
	Conn io.ReadWriteCloser
}

// AddTAP joins the lab to this machine's kernel by a TAP device, which has the
// segment's MTU. That takes real time, Linux, and root or CAP_NET_ADMIN. A device
// that exists is used as it is, and stays; one that was made is gone with the lab.
func (l *Lab) AddTAP(cfg TAPConfig) (*TAP, error) {
	t := &TAP{lab: l, name: cfg.Name, device: cmp.Or(cfg.Device, cfg.Name)}
	if l.drv.Virtual() {
		return nil, fmt.Errorf("emu: tap %s: %w", cfg.Name, link.ErrVirtualTime)
	}
	var s *segment
	var err error
	l.drv.Do(func() { s, err = l.placeTAP(&cfg) })
	if err != nil {
		return nil, err
	}
	if cfg.Conn == nil {
		if cfg.Conn, err = tap.Open(t.deviceConfig(cfg, s)); err != nil {
			return nil, fmt.Errorf("emu: %w", err)
		}
	}
	l.drv.Do(func() {
		if _, err = l.placeTAP(&cfg); err != nil { // somebody else may have been faster
			return
		}
		w := l.drv.NewWire(t.name, *cfg.Cable)
		t.plug = plug{segment: s, cable: w, port: s.bridge.AddPort(t.name, w.B), addr: cfg.Addr}
		t.conn = cfg.Conn
		if t.splice, err = l.drv.NewSplice(w.A, cfg.Conn); err == nil {
			l.taps = append(l.taps, t)
			t.applyLink()
		}
	})
	if err != nil {
		return nil, errors.Join(err, cfg.Conn.Close())
	}
	return t, nil
}

// placeTAP finds the segment of a TAP, fills in what cfg leaves open, and refuses
// what clashes. The caller holds the lock.
func (l *Lab) placeTAP(cfg *TAPConfig) (*segment, error) {
	if err := l.checkMachineName(cfg.Name); err != nil {
		return nil, err
	}
	s, err := l.segmentFor(cfg.Segment, cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("emu: %s: %w", cfg.Name, err)
	}
	if !cfg.Addr.IsValid() {
		cfg.Addr = l.freeAddr(s)
	}
	if cfg.Cable == nil {
		cfg.Cable = s.Cable
	}
	if err := cfg.Cable.Validate(); err != nil {
		return nil, fmt.Errorf("emu: %s: %w", cfg.Name, err)
	}
	return s, l.checkAddr(cfg.Name, s, cfg.Addr)
}

// deviceConfig is the device as the kernel is to have it.
func (t *TAP) deviceConfig(cfg TAPConfig, s *segment) tap.Config {
	c := tap.Config{Name: t.device, MTU: s.MTU, Addr: netip.PrefixFrom(cfg.Addr, s.Subnet.Bits()), Netns: cfg.Netns}
	for _, r := range cfg.Routes {
		c.Routes = append(c.Routes, tap.Route(r))
	}
	return c
}

// TAPRoutes returns the routes by which a machine on a segment, the lab's first if
// the name is empty, reaches what lies behind it: other segments over the gateway,
// pods and Services over the first node of the segment. A host without Kubernetes
// has neither.
func (l *Lab) TAPRoutes(name string) (routes []Route, err error) {
	l.drv.Do(func() {
		var s *segment
		if s, err = l.segmentFor(name, netip.Addr{}); err != nil {
			return
		}
		for _, o := range l.segments {
			if o != s && s.gateway.IsValid() {
				routes = append(routes, Route{Dst: o.Subnet, Via: s.gateway})
			}
		}
		if l.design.Standalone {
			return
		}
		for _, n := range l.nodes {
			if n.plugs[0].segment == s {
				routes = append(routes, Route{Dst: l.cfg.PodCIDR, Via: n.addr}, Route{Dst: l.cfg.ServiceCIDR, Via: n.addr})
				return
			}
		}
	})
	return routes, err
}

// TAPs returns the TAPs in the order in which they were added.
func (l *Lab) TAPs() (list []*TAP) {
	l.drv.Do(func() { list = slices.Clone(l.taps) })
	return list
}

// TAP returns the TAP of that name, or nil.
func (l *Lab) TAP(name string) *TAP {
	for _, t := range l.TAPs() {
		if t.name == name {
			return t
		}
	}
	return nil
}

// Name returns the TAP's name in the lab.
func (t *TAP) Name() string { return t.name }

// Device returns the name of the kernel's device.
func (t *TAP) Device() string { return t.device }

// Segment returns the name of the segment that it is plugged into.
func (t *TAP) Segment() string { return t.plug.segment.Name }

// Addr returns the kernel's address on the segment.
func (t *TAP) Addr() netip.Addr { return t.plug.addr }

// Cable returns the cable to the segment. A is the end of the TAP device. It is
// guarded by the driver's lock.
func (t *TAP) Cable() *link.Wire { return t.plug.cable }

// Done is closed when nothing more comes from the device: somebody has removed
// it, or the lab was closed.
func (t *TAP) Done() <-chan struct{} { return t.splice.Done() }

// Err returns why nothing more comes, once Done is closed; nil after Close of the
// lab.
func (t *TAP) Err() error { return t.splice.Err() }

// SetLink plugs the cable in or pulls it, as [Machine.SetLink] does. The kernel
// sees its device without a carrier.
func (t *TAP) SetLink(up bool) {
	t.lab.drv.Do(func() {
		t.down = !up
		t.applyLink()
	})
}

// applyLink is Machine.applyLink of a TAP. The caller holds the lock.
func (t *TAP) applyLink() {
	up := !t.down && !t.plug.segment.off
	if up == t.plug.cable.Up() {
		return
	}
	t.plug.cable.SetUp(up)
	if d, ok := t.conn.(*tap.Device); ok {
		_ = d.SetCarrier(up) // an old kernel, or a device that is gone, does not notice
	}
}

// ChangeCable is [Machine.ChangeCable] for the one cable of a TAP.
func (t *TAP) ChangeCable(segment string, change func(out, in *link.WireConfig)) (err error) {
	if segment != "" && segment != t.Segment() {
		return fmt.Errorf("emu: %s has no cable to segment %q", t.name, segment)
	}
	t.lab.drv.Do(func() { err = changeCable(t.name, t.plug.cable, change) })
	return err
}

// checkMachineName wants a name that no machine has. The caller holds the lock.
func (l *Lab) checkMachineName(name string) error {
	switch {
	case l.closed:
		return errClosed
	case name == "" || strings.Contains(name, "/"):
		return fmt.Errorf("emu: machine name %q, want one or more characters and no slash", name)
	case l.machines[name] != nil || l.tapNamed(name) != nil:
		return fmt.Errorf("emu: there is already a machine %q", name)
	}
	return nil
}

// tapNamed returns the TAP of that name, or nil. The caller holds the lock.
func (l *Lab) tapNamed(name string) *TAP {
	for _, t := range l.taps {
		if t.name == name {
			return t
		}
	}
	return nil
}

// addrOwner returns the name of whoever has an address of the underlay, or "". The
// caller holds the lock.
func (l *Lab) addrOwner(a netip.Addr) string {
	if m := l.addrs[a]; m != nil {
		return m.name
	}
	for _, t := range l.taps {
		if t.plug.addr == a {
			return t.name
		}
	}
	return ""
}
