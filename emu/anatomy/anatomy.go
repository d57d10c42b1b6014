// Package anatomy takes a design apart: it builds a small lab of two nodes with
// two pods each, lets a ping pass, and reads what the design has put on the
// machines and what the packet looked like at every point.
//
//	a, err := anatomy.Of("flannel-vxlan", settle)
//	err = a.WriteText(os.Stdout)
//
// Nothing in it is prose about a design: everything is read from the lab.
package anatomy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/shell"
	"github.com/podwire/podwire/overlay"
)

// An Anatomy is what a design looks like on the reference cluster: node1 is
// 192.168.56.11, node2 192.168.56.12, the underlay's MTU is 1500. Its JSON form
// is stable: fields are added, not changed.
type Anatomy struct {
	Design   string `json:"design"`
	Summary  string `json:"summary"`
	Overhead int    `json:"overhead"` // bytes between the underlay's MTU and the pod's
	MTU      int    `json:"mtu"`      // of a pod

	Machines   []Machine `json:"machines"`   // a node and a pod on it
	From       string    `json:"from"`       // who sends the ping
	To         string    `json:"to"`         // who answers it
	Path       []Hop     `json:"path"`       // of the request
	ReplyTTL   int       `json:"replyTTL"`   // of the answer as it comes in
	Traceroute []string  `json:"traceroute"` // who answers, by TTL; * for silence
	Warnings   []string  `json:"warnings,omitempty"`
}

// A Machine is the tables of one machine. In JSON they are what iproute2 prints
// with -j.
type Machine struct {
	Name       string          `json:"name"`
	Devices    json.RawMessage `json:"devices"`
	Routes     json.RawMessage `json:"routes"`
	Neighbours json.RawMessage `json:"neighbours"`
	FDB        json.RawMessage `json:"fdb"`
	Rules      []string        `json:"rules"`         // iptables-save without what kube-proxy has made
	BGP        []string        `json:"bgp,omitempty"` // birdcl show protocols, on a machine that speaks BGP
	RIB        []string        `json:"rib,omitempty"` // birdcl show route all

	text []table
}

// table is the output of one command, for people.
type table struct{ command, output string }

// Of builds the lab and takes it apart. Settle makes time virtual, see
// emu.Config.
func Of(design string, settle func()) (*Anatomy, error) {
	d, ok := overlay.Find(design)
	if !ok {
		return nil, fmt.Errorf("anatomy: design %q is not known", design)
	}
	lab, err := emu.New(emu.Config{Design: design, Nodes: 2, Seed: 1, Settle: settle})
	if err != nil {
		return nil, err
	}
	defer lab.Close()
	a := &Anatomy{Design: d.Name, Summary: d.Summary, Overhead: d.Overhead, From: "p1a", To: "p2a"}
	if d.Standalone {
		a.To = "p1b" // nodes know nothing of each other
	}
	for _, p := range []emu.PodConfig{{Name: "p1a", Node: "node1"}, {Name: "p1b", Node: "node1"}, {Name: "p2a", Node: "node2"}, {Name: "p2b", Node: "node2"}} {
		if _, err := lab.AddPod(p); err != nil {
			return nil, err
		}
	}
	if err := lab.AwaitReady(time.Minute); err != nil {
		return nil, err
	}
	a.Warnings = lab.Warnings()
	return a, a.fill(lab)
}

// fill plays the pings and reads the tables.
func (a *Anatomy) fill(lab *emu.Lab) error {
	from := lab.Pod(a.From)
	a.MTU = from.Stack().Device("eth0").MTU
	const timeout = 10 * time.Second
	if _, err := from.Ping(a.To, timeout); err != nil { // ARP and handshakes are out of the way
		return fmt.Errorf("anatomy: ping from %s to %s: %w", a.From, a.To, err)
	}
	w := watch(lab)
	r, err := from.Ping(a.To, timeout)
	w.stop()
	if err != nil {
		return fmt.Errorf("anatomy: ping from %s to %s: %w", a.From, a.To, err)
	}
	a.Path, a.ReplyTTL = w.path(), int(r.TTL)
	hops, err := from.Traceroute(a.To, 10, time.Second)
	if err != nil {
		return err
	}
	for _, h := range hops {
		who := "*"
		if h.Addr.IsValid() {
			who = h.Addr.String()
		}
		a.Traceroute = append(a.Traceroute, who)
	}
	for _, name := range []string{"node1", a.From} {
		m, err := tables(lab.Machine(name))
		if err != nil {
			return err
		}
		a.Machines = append(a.Machines, m)
	}
	return nil
}

// tables reads the tables of a machine with the tools that its user would take.
func tables(m *emu.Machine) (Machine, error) {
	out := Machine{Name: strings.TrimPrefix(m.Name(), "default/")}
	for _, t := range []struct {
		into    *json.RawMessage
		command string
		json    string
	}{
		{&out.Devices, "ip -br addr", "ip -j addr"},
		{nil, "ip -br link", ""},
		{&out.Routes, "ip route", "ip -j route"},
		{&out.Neighbours, "ip neigh", "ip -j neigh"},
		{&out.FDB, "bridge fdb", "bridge -j fdb"},
	} {
		text, err := run(m, t.command)
		if err != nil {
			return out, err
		}
		out.text = append(out.text, table{t.command, text})
		if t.into == nil {
			continue
		}
		raw, err := run(m, t.json)
		if err != nil {
			return out, err
		}
		*t.into = json.RawMessage(strings.TrimSpace(raw))
	}
	if m.SpeaksBGP() {
		for _, t := range []struct {
			into    *[]string
			command string
		}{{&out.BGP, "birdcl show protocols"}, {&out.RIB, "birdcl show route all"}} {
			text, err := run(m, t.command)
			if err != nil {
				return out, err
			}
			out.text = append(out.text, table{t.command, text})
			*t.into = strings.Split(strings.TrimRight(text, "\n"), "\n")[1:] // without the greeting
		}
	}
	text, err := run(m, "iptables-save")
	if err != nil {
		return out, err
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' && !strings.Contains(line, "KUBE-") {
			out.Rules = append(out.Rules, line)
		}
	}
	out.text = append(out.text, table{"iptables-save | grep -v KUBE-", strings.Join(out.Rules, "\n")})
	return out, nil
}

// run is a command on a machine.
func run(m *emu.Machine, command string) (string, error) {
	var out, errs bytes.Buffer
	if err := shell.Run(context.Background(), m, strings.Fields(command), shell.Streams{Out: &out, Err: &errs}); err != nil {
		return "", fmt.Errorf("anatomy: %s: %s: %w: %s", m.Name(), command, err, errs.String())
	}
	return out.String(), nil
}
