package anatomy

import (
	"fmt"
	"strings"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/explain"
	"github.com/podwire/podwire/link"
)

// A Hop is a packet at one point of its way.
type Hop struct {
	Point     string `json:"point"`              // "node1/flannel.1"; of a pod's veth pair the node's end is "node1/veth(p1a)"
	Direction string `json:"direction"`          // in or out, seen from the machine
	Ethernet  string `json:"ethernet,omitempty"` // whose addresses: "p1a/eth0 > node1/cni0"; none on a device without link layer
	Outer     string `json:"outer,omitempty"`    // headers around the packet, outermost first
	OuterTTL  int    `json:"outerTTL,omitempty"`
	Source    string `json:"source,omitempty"` // of the packet itself; nothing if it is encrypted
	Target    string `json:"target,omitempty"`
	TTL       int    `json:"ttl,omitempty"`
	Bytes     int    `json:"bytes"` // from the first header on
	Note      string `json:"note,omitempty"`
}

// watcher keeps what passes every device of a lab.
type watcher struct {
	lab    *emu.Lab
	points []*link.Point
	names  map[string]string // of points as people call them
	macs   map[link.MAC]string
	seen   []seen
}

type seen struct {
	id  uint64
	typ link.LinkType
	hop Hop
	raw []byte
}

func watch(lab *emu.Lab) *watcher {
	w := &watcher{lab: lab, names: make(map[string]string), macs: make(map[link.MAC]string)}
	var machines []*emu.Machine
	for _, n := range lab.Nodes() {
		machines = append(machines, &n.Machine)
	}
	for _, p := range lab.Pods() {
		machines = append(machines, &p.Machine)
		w.names[p.Node().Name()+"/"+p.Peer()] = fmt.Sprintf("%s/veth(%s)", p.Node().Name(), short(p.Name()))
	}
	lab.Driver().Do(func() {
		for _, m := range machines {
			for _, d := range m.Stack().Devices() {
				w.points = append(w.points, d.Point())
				d.Point().Watch(w)
				if _, twice := w.macs[d.MAC]; twice {
					w.macs[d.MAC] = d.MAC.String() // Calico gives all its veths one address
				} else {
					w.macs[d.MAC] = w.name(d.Point().Name)
				}
			}
		}
	})
	return w
}

func (w *watcher) stop() {
	w.lab.Driver().Do(func() {
		for _, p := range w.points {
			p.Unwatch(w)
		}
	})
}

// Observe implements link.Observer.
func (w *watcher) Observe(o *link.Observation) {
	if o.Drop != "" {
		return
	}
	w.seen = append(w.seen, seen{o.ID, o.Point.Type, Hop{
		Point: w.name(o.Point.Name), Direction: o.Direction.String(), Bytes: len(o.Bytes), Note: o.Note,
	}, append([]byte(nil), o.Bytes...)})
}

// path returns the way of the first datagram that is a ping.
func (w *watcher) path() []Hop {
	var path []Hop
	var id uint64
	for _, s := range w.seen {
		w.dissect(&s.hop, s.typ, s.raw)
		if id == 0 && s.hop.TTL != 0 {
			id = s.id
		}
		if id != 0 && s.id == id {
			path = append(path, s.hop)
		}
	}
	return path
}

func short(name string) string { return strings.TrimPrefix(name, "default/") }

func (w *watcher) name(point string) string {
	if n := w.names[point]; n != "" {
		return n
	}
	return short(point)
}

func (w *watcher) mac(m link.MAC) string {
	if n := w.macs[m]; n != "" {
		return n
	}
	return m.String()
}

// dissect reads the headers of a frame down to the packet that no tunnel is
// around.
func (w *watcher) dissect(h *Hop, typ link.LinkType, b []byte) {
	var outer []string
	for i, l := range explain.Layers(typ, b) {
		ethernet := ""
		if l.Ethernet != nil {
			ethernet = w.mac(link.SrcMAC(l.Ethernet)) + " > " + w.mac(link.DstMAC(l.Ethernet))
		}
		if i == 0 {
			h.Ethernet = ethernet
		} else if ethernet != "" {
			outer = append(outer, ethernet)
		}
		src, dst := l.Source().String(), l.Target().String()
		if l.Tunnel == "" {
			h.Source, h.Target, h.TTL = src, dst, l.TTL()
		} else {
			outer = append(outer, fmt.Sprintf("%s > %s %s", src, dst, l.Tunnel))
			if i == 0 {
				h.OuterTTL = l.TTL()
			}
		}
		h.Outer = strings.Join(outer, ", ")
	}
}
