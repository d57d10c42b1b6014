package shell

import (
	"fmt"
	"strings"

	"github.com/podwire/podwire/stack"
)

var bridgeCommand = Command{
	Name:    "bridge",
	Usage:   "[-j] {fdb [show] [br BRIDGE] [dev DEVICE] | link [show] [dev DEVICE]}",
	Summary: "forwarding databases of bridges and tunnels, and bridge ports",
	run:     (*call).bridge,
}

// fdbJSON is an element of `bridge -j fdb`.
type fdbJSON struct {
	MAC    string   `json:"mac"`
	Dev    string   `json:"ifname"`
	Dst    string   `json:"dst,omitempty"`
	Flags  []string `json:"flags"`
	Master string   `json:"master,omitempty"`
	State  string   `json:"state"`
}

// portJSON is an element of `bridge -j link`.
type portJSON struct {
	Index    int      `json:"ifindex"`
	Name     string   `json:"ifname"`
	Flags    []string `json:"flags"`
	MTU      int      `json:"mtu"`
	Master   string   `json:"master"`
	State    string   `json:"state"`
	Priority int      `json:"priority"`
	Cost     int      `json:"cost"`
	Hairpin  bool     `json:"hairpin"`
	Isolated bool     `json:"isolated"`
}

func (c *call) bridge() error {
	p := &iproute{call: c, words: c.args}
	details := false
	if len(p.words) > 0 && (p.words[0] == "-d" || p.words[0] == "-details") {
		details = true
		p.next()
	}
	if err := p.options(); err != nil {
		return err
	}
	object := p.next()
	if abbreviates(object, "fdb") || abbreviates(object, "link") {
		if _, err := p.verb("show"); err != nil && p.words[0] != "br" {
			return err
		}
	}
	switch {
	case abbreviates(object, "fdb"):
		return p.fdb()
	case abbreviates(object, "link"):
		return p.ports(details)
	}
	return c.misused("object %q, want fdb or link", object)
}

// fdb prints the entries that bridges have learned or were given, and those of
// tunnels.
func (p *iproute) fdb() error {
	v, err := p.keywords("dev", "br", "brport")
	if err != nil {
		return err
	}
	list := []fdbJSON{}
	p.do(func() {
		for _, d := range p.host.Devices() {
			list = append(list, entriesOf(d)...)
		}
	})
	kept := list[:0]
	for _, e := range list {
		if (v["dev"]+v["brport"] == "" || e.Dev == v["dev"]+v["brport"]) && (v["br"] == "" || e.Master == v["br"]) {
			kept = append(kept, e)
		}
	}
	if p.json {
		return p.write(kept)
	}
	for _, e := range kept {
		line := e.MAC + " dev " + e.Dev
		if e.Dst != "" {
			line += " dst " + e.Dst
		}
		for _, f := range append(e.Flags, e.State) {
			if f != "" {
				line += " " + f
			}
		}
		if e.Master != "" {
			line = strings.TrimSuffix(line, " permanent") + " master " + e.Master
			if e.State == "permanent" {
				line += " permanent"
			}
		}
		p.printf("%s\n", line)
	}
	return nil
}

// entriesOf lists what a device knows. The caller holds the driver's lock.
func entriesOf(d *stack.Device) []fdbJSON {
	var list []fdbJSON
	if m := d.Master(); m != nil {
		for _, e := range m.Bridge().FDB() {
			if e.Port == d.Name {
				j := fdbJSON{MAC: e.MAC.String(), Dev: d.Name, Flags: []string{}, Master: m.Name}
				if e.Static {
					j.State = "static"
				}
				list = append(list, j)
			}
		}
		list = append(list, fdbJSON{MAC: d.MAC.String(), Dev: d.Name, Flags: []string{}, Master: m.Name, State: "permanent"})
	}
	if d.Bridge() != nil {
		list = append(list, fdbJSON{MAC: d.MAC.String(), Dev: d.Name, Flags: []string{}, Master: d.Name, State: "permanent"})
	}
	for _, e := range d.FDB() {
		list = append(list, fdbJSON{MAC: e.MAC.String(), Dev: d.Name, Dst: e.Dst.String(), Flags: []string{"self"}, State: "permanent"})
	}
	return list
}

// ports prints the ports of bridges.
func (p *iproute) ports(details bool) error {
	v, err := p.keywords("dev")
	if err != nil {
		return err
	}
	list := []portJSON{}
	p.do(func() {
		for _, d := range p.host.Devices() {
			m := d.Master()
			if m == nil || v["dev"] != "" && d.Name != v["dev"] {
				continue
			}
			j := portJSON{
				Index: d.Index, Name: d.Name, Flags: flags(d), MTU: d.MTU, Master: m.Name, State: "forwarding", Priority: 32, Cost: 2,
				Hairpin: d.BridgePort().Hairpin, Isolated: d.BridgePort().Isolated,
			}
			if !d.Up() {
				j.State = "disabled"
			}
			list = append(list, j)
		}
	})
	if p.json {
		return p.write(list)
	}
	onOff := map[bool]string{true: "on", false: "off"}
	for _, j := range list {
		p.printf("%d: %s: <%s> mtu %d master %s state %s priority %d cost %d\n", j.Index, j.Name, strings.Join(j.Flags, ","), j.MTU, j.Master, j.State, j.Priority, j.Cost)
		if details {
			p.printf("%s", fmt.Sprintf("    hairpin %s isolated %s\n", onOff[j.Hairpin], onOff[j.Isolated]))
		}
	}
	return nil
}
