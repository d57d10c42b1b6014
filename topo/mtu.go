package topo

import (
	"fmt"

	"github.com/podwire/podwire/emu"
)

// DeviceMTU changes the MTU of one device, as `ip link set DEV mtu N`: unlike a
// cable that carries less, which is silent about it, the machine knows, and a
// router says so (ICMP "fragmentation needed").
type DeviceMTU struct {
	On   Ref
	Dev  Field[string] // default eth0
	Size Field[int]    // bytes of IP packet
}

func (l *load) decodeMTU(step mapping, s *Step) {
	d := &DeviceMTU{}
	s.Action = d
	if m, ok := l.verb(step, "mtu", []string{"on", "size"}, "dev"); ok {
		d.On, d.Dev, d.Size = m.ref("on"), orDefault(m.str("dev"), "eth0"), m.integer("size", 68, 65535)
	}
}

// Verb implements Action.
func (d *DeviceMTU) Verb() string { return "mtu" }

func (d *DeviceMTU) title() string {
	return fmt.Sprintf("mtu %d on %s/%s", d.Size.Value, d.On.Text, d.Dev.Value)
}

func (d *DeviceMTU) resolve(l *load, at string) {
	l.resolve(&d.On, at+".on", RefNode, RefHost, RefPod)
}

func (d *DeviceMTU) play(p *player) {
	_, p.err = d.disrupt(p.lab)
	p.result.Outcome = fmt.Sprintf("%s/%s has MTU %d", d.On.Text, d.Dev.Value, d.Size.Value)
}

// disrupt implements Disruption. Undone, the device has the MTU that it had.
func (d *DeviceMTU) disrupt(lab *emu.Lab) (undo func() error, err error) {
	was, err := d.set(lab, d.Size.Value)
	return func() error { _, err := d.set(lab, was); return err }, err
}

func (d *DeviceMTU) set(lab *emu.Lab, mtu int) (was int, err error) {
	m := machineOf(lab, d.On)
	if m == nil {
		return 0, errGone(d.On)
	}
	lab.Driver().Do(func() {
		dev := m.Stack().Device(d.Dev.Value)
		if dev == nil {
			err = fmt.Errorf("%s has no device %q", d.On.Text, d.Dev.Value)
			return
		}
		was, err = dev.MTU, dev.SetMTU(mtu)
	})
	return was, err
}
