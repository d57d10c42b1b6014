package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/text"
	"github.com/podwire/podwire/stack"
)

// watcher keeps what passes the points of a lab.
type watcher struct {
	lab    *emu.Lab
	probe  Probe
	points []emu.MachinePoint
	where  map[*link.Point]emu.MachinePoint
	veths  map[string]string // the node's ends of veth pairs, by point
	seen   []sight
	done   bool
}

// A sight is an observation that was kept.
type sight struct {
	at     time.Duration
	id     uint64
	point  *link.Point
	dir    link.Direction
	raw    []byte
	note   string
	drop   link.Reason
	typ    link.LinkType // of raw
	layers []Layer
}

// read reads the headers. What dies within a host has no Ethernet header any
// more, or not yet, whatever its device has.
func (s *sight) read() {
	s.typ = s.point.Type
	if s.layers = Layers(s.typ, s.raw); s.layers == nil && s.drop != "" {
		if s.layers = Layers(link.LinkRaw, s.raw); s.layers != nil {
			s.typ = link.LinkRaw
		}
	}
}

// inner returns the packet that no tunnel is around, nil if there is none to see.
func (s *sight) inner() []byte {
	if n := len(s.layers); n > 0 && s.layers[n-1].Tunnel == "" {
		return s.layers[n-1].IP
	}
	return nil
}

func watch(lab *emu.Lab, p Probe) *watcher {
	w := &watcher{lab: lab, probe: p, points: lab.Points(), where: make(map[*link.Point]emu.MachinePoint), veths: make(map[string]string)}
	for _, pod := range lab.Pods() {
		w.veths[pod.Node().Name()+"/"+pod.Peer()] = "veth(" + short(pod.Name()) + ")"
	}
	lab.Driver().Do(func() {
		for _, p := range w.points {
			if _, twice := w.where[p.Point]; !twice {
				w.where[p.Point] = p
				p.Watch(w)
			}
		}
	})
	return w
}

// stop ends the watching. It may be called twice.
func (w *watcher) stop() {
	w.lab.Driver().Do(func() {
		if w.done {
			return
		}
		w.done = true
		for p := range w.where {
			p.Unwatch(w)
		}
	})
}

// Observe implements link.Observer.
func (w *watcher) Observe(o *link.Observation) {
	if o.Drop == "" && !w.where[o.Point].Own {
		return // bridges and cables are heard only about what ends there
	}
	w.seen = append(w.seen, sight{
		at: o.Time, id: o.ID, point: o.Point, dir: o.Direction, raw: slices.Clone(o.Bytes), note: o.Note, drop: o.Drop,
	})
}

// request finds the packet of the probe: the first of its kind that the sender's
// devices saw. Its address need not be the one that was asked for, because the
// sender may have translated it.
func (w *watcher) request() (id uint64, ok bool) {
	for i := range w.seen {
		s := &w.seen[i]
		if at := w.where[s.point]; at.Machine == w.probe.From && (s.dir != link.In || at.Device == "lo") && w.sent(s.inner()) {
			return s.id, true
		}
	}
	return 0, false
}

// sent reports whether a packet is of the kind that the probe sends.
func (w *watcher) sent(b []byte) bool {
	if b == nil {
		return false
	}
	switch w.probe.Network {
	case "icmp":
		return b[9] == protoICMP && describe(b) == "echo request"
	case "tcp":
		return b[9] == protoTCP && describe(b) == "TCP SYN"
	}
	return b[9] == protoUDP && strings.HasSuffix(string(b), payload)
}

// answer finds the first packet that goes against the request, whatever
// addresses the request had on its way, or is an error about it.
func (w *watcher) answer(request uint64) (id uint64, ok bool) {
	flows := make(map[tuple]bool)
	for i := range w.seen {
		s := &w.seen[i]
		b := s.inner()
		if b == nil {
			continue
		}
		t, ok := tupleOf(b)
		if s.id == request {
			flows[t] = ok
			continue
		}
		if q, isError := quoted(b); ok && flows[t.reversed()] || isError && flows[q] {
			return s.id, true
		}
	}
	return 0, false
}

// strays finds the devices to which the packet only came because a bridge floods:
// they drop it.
func (w *watcher) strays(id uint64) map[*link.Point]bool {
	stray := make(map[*link.Point]bool)
	for _, s := range w.seen {
		if s.id == id && s.drop == stack.DropOtherHost {
			stray[s.point] = true
		}
	}
	return stray
}

// report writes down what was seen.
func (w *watcher) report(r *Report) {
	for i := range w.seen {
		w.seen[i].read()
	}
	n := newNames(w.lab)
	request, ok := w.request()
	if !ok {
		r.Verdict = fmt.Sprintf("no packet left %s: %s", r.From, r.Error)
		return
	}
	answer, answered := w.answer(request)
	w.hops(r, n, request, answer, answered)
	if answered {
		for i := range w.seen {
			if s := &w.seen[i]; s.id == answer && s.inner() != nil {
				r.Answer, r.AnswerBy = describe(s.inner()), cmp.Or(n.real[source(s.inner())], short(w.by(s)))
				break
			}
		}
	}
	r.Verdict = verdict(r)
}

// source is where an IPv4 packet says that it is from.
func source(ip []byte) netip.Addr { return netip.AddrFrom4([4]byte(ip[12:16])) }

// by returns who made the packet that is seen here for the first time.
func (w *watcher) by(s *sight) string {
	if m := w.where[s.point].Machine; m != nil {
		return m.Name()
	}
	return "nobody"
}

// hops lists the sights of the request, then of its answer, and what was asked by
// ARP meanwhile. An error is often sent just before what it is about is dropped.
func (w *watcher) hops(r *Report, n *names, request, answer uint64, answered bool) {
	questions := w.questions(n)
	strayed, strayedBack := w.strays(request), w.strays(answer)
	var way, back, waiting []Hop
	on := make(map[string]bool) // machines of the way; what others ask is their own business
	var start time.Duration
	for i := range w.seen {
		s := &w.seen[i]
		switch {
		case questions[i] != "":
			waiting = append(waiting, w.asked(s, questions[i]))
			continue
		case s.id == request && !strayed[s.point]:
			if len(way) == 0 {
				start = s.at
			}
			on[short(w.by(s))] = true
			if len(back) == 0 {
				way = appendAsked(way, waiting, on)
				waiting = nil
			}
			way = append(way, w.hop(s, n, "request"))
		case answered && s.id == answer && !strayedBack[s.point]:
			on[short(w.by(s))] = true
			if len(back) == 0 { // what was asked in vain is the end of the request
				way = appendAsked(way, waiting, on)
			} else {
				back = appendAsked(back, waiting, on)
			}
			waiting = nil
			back = append(back, w.hop(s, n, "answer"))
		}
	}
	r.Hops = append(way, back...)
	for i := range r.Hops { // an ARP request is seen before what waits for it
		r.Hops[i].Time = max(r.Hops[i].Time-start, 0)
	}
}

// appendAsked adds what machines of the way have asked.
func appendAsked(hops, asked []Hop, on map[string]bool) []Hop {
	for _, h := range asked {
		if on[h.Machine] {
			hops = append(hops, h)
		}
	}
	return hops
}

// asked is the line of an ARP request.
func (w *watcher) asked(s *sight, line string) Hop {
	h := Hop{Of: "arp", Time: s.at, Packet: line, Bytes: len(s.raw)}
	w.locate(&h, s)
	h.Direction = ""
	return h
}

// hop is what a sight tells.
func (w *watcher) hop(s *sight, n *names, of string) Hop {
	p := text.Printer{Name: n.of}
	h := Hop{
		Of: of, Time: s.at, Bytes: len(s.raw), Note: n.in(s.note), Drop: string(s.drop),
		Packet: oneLine(p.Packet(pcap.LinkType(s.typ), s.raw, len(s.raw))),
	}
	w.locate(&h, s)
	for _, l := range s.layers {
		h.TTL = append(h.TTL, l.TTL())
	}
	return h
}

// locate says where a sight was.
func (w *watcher) locate(h *Hop, s *sight) {
	at := w.where[s.point]
	if at.Machine != nil {
		h.Machine = short(at.Machine.Name())
	}
	if h.Device = at.Device; w.veths[h.Machine+"/"+h.Device] != "" {
		h.Device = w.veths[h.Machine+"/"+h.Device]
	}
	if s.dir != link.DirectionUnknown {
		h.Direction = s.dir.String()
	}
}

var tcpOptions = regexp.MustCompile(`, options \[[^\]]*\]`)

// oneLine makes one line of tcpdump's, without what rarely matters to a route.
func oneLine(s string) string {
	return tcpOptions.ReplaceAllString(strings.ReplaceAll(s, "\n", " | "), "")
}
