package ipvs

import (
	"encoding/binary"
	"net/netip"
)

// Schedulers returns the names of the schedulers, the default first.
func Schedulers() []string { return []string{"rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq"} }

// scheduler chooses a server for a new connection.
type scheduler interface {
	// pick returns nil if nobody can take it.
	pick(s *Service, client, service netip.Addr) *Server
	// changed says that servers or weights have changed, removed that the server in a place is about to go.
	changed(s *Service)
	removed(s *Service, at int)
}

func newScheduler(name string) scheduler {
	switch name {
	case "rr":
		return &roundRobin{}
	case "wrr":
		return &weighted{}
	case "lc":
		return least(func(d *Server) (load, share int) { return d.Active<<8 + d.Inactive, 1 })
	case "wlc":
		return least(func(d *Server) (load, share int) { return d.Active<<8 + d.Inactive, d.Weight })
	case "sed":
		return least(func(d *Server) (load, share int) { return d.Active + 1, d.Weight })
	case "nq":
		return neverQueue{}
	case "sh":
		return &hashed{source: true}
	case "dh":
		return &hashed{}
	}
	return nil
}

// roundRobin is ip_vs_rr: one after the other, weights but zero do not count.
type roundRobin struct {
	last *Server // nil before the first
}

func (r *roundRobin) pick(s *Service, _, _ netip.Addr) *Server {
	n := len(s.servers)
	at := -1
	for i, d := range s.servers {
		if d == r.last {
			at = i
		}
	}
	for i := range n {
		if d := s.servers[(at+1+i)%n]; d.Weight > 0 {
			r.last = d
			return d
		}
	}
	return nil
}

func (r *roundRobin) changed(*Service) {}

// removed steps back to the server before, so that its successor comes next.
func (r *roundRobin) removed(s *Service, at int) {
	if s.servers[at] == r.last {
		r.last = nil
		if at > 0 {
			r.last = s.servers[at-1]
		}
	}
}

// weighted is ip_vs_wrr: rounds in which heavier servers come more often.
type weighted struct {
	at, weight, top, step int
}

func (w *weighted) changed(s *Service) {
	w.at, w.top, w.step = -1, 0, 0
	for _, d := range s.servers {
		w.top = max(w.top, d.Weight)
		w.step = gcd(w.step, d.Weight)
	}
	w.step = max(w.step, 1)
	w.weight = w.top
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (w *weighted) removed(*Service, int) {}

func (w *weighted) pick(s *Service, _, _ netip.Addr) *Server {
	if w.top == 0 {
		return nil
	}
	for {
		if w.at++; w.at >= len(s.servers) {
			w.at = 0
			if w.weight -= w.step; w.weight <= 0 {
				w.weight = w.top
			}
		}
		if d := s.servers[w.at]; d.Weight >= w.weight {
			return d
		}
	}
}

// least is ip_vs_lc, ip_vs_wlc and ip_vs_sed: the server with the least load for its share; of equals the first.
type least func(d *Server) (load, share int)

func (l least) changed(*Service)      {}
func (l least) removed(*Service, int) {}

func (l least) pick(s *Service, _, _ netip.Addr) *Server {
	var best *Server
	for _, d := range s.servers {
		if d.Weight <= 0 {
			continue
		}
		if best == nil {
			best = d
			continue
		}
		load, share := l(d)
		bestLoad, bestShare := l(best)
		if bestLoad*share > load*bestShare {
			best = d
		}
	}
	return best
}

// neverQueue is ip_vs_nq: an idle server if there is one, else as sed.
type neverQueue struct{}

func (neverQueue) changed(*Service)      {}
func (neverQueue) removed(*Service, int) {}

func (neverQueue) pick(s *Service, client, service netip.Addr) *Server {
	for _, d := range s.servers {
		if d.Weight > 0 && d.Active == 0 {
			return d
		}
	}
	return newScheduler("sed").pick(s, client, service)
}

// hashed is ip_vs_sh and ip_vs_dh: a table of 256 places in which servers stand in turn, for sh as often in a row as
// they weigh; the client's or the service's address finds the place.
type hashed struct {
	source bool
	places [256]*Server
}

func (h *hashed) removed(*Service, int) {}

func (h *hashed) changed(s *Service) {
	h.places = [256]*Server{}
	if len(s.servers) == 0 {
		return
	}
	at, times := 0, 0
	for i := range h.places {
		d := s.servers[at%len(s.servers)]
		h.places[i] = d
		if times++; !h.source || times >= d.Weight {
			at, times = at+1, 0
		}
	}
}

func (h *hashed) pick(_ *Service, client, service netip.Addr) *Server {
	a := service.As4()
	place := byte(binary.BigEndian.Uint32(a[:]) * 2654435761)
	if h.source {
		a = client.As4()
		place = byte(binary.BigEndian.Uint32(a[:]) * 0x61c88647 >> 24)
	}
	if d := h.places[place]; d != nil && d.Weight > 0 {
		return d
	}
	return nil
}
