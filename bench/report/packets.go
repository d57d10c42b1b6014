package report

import (
	"cmp"
	"slices"

	"github.com/podwire/podwire/bench/faceoff"
)

// headers is the packet of one design, or of several that put the same on the
// wire.
type headers struct {
	Design string
	Packet *faceoff.Packet
	Extra  int // bytes of the tunnel
	Tunnel string
}

// newHeaders lists the packets, the smallest tunnel first.
func newHeaders(r *faceoff.Result) []headers {
	var list []headers
	for _, d := range r.Designs {
		if d.Packet == nil {
			continue
		}
		h := headers{Design: d.Name, Packet: d.Packet}
		for _, l := range d.Packet.Layers {
			if l.Role == faceoff.RoleTunnel {
				h.Extra += l.Bytes
			}
		}
		list = append(list, h)
	}
	slices.SortStableFunc(list, func(a, b headers) int { return cmp.Compare(a.Extra, b.Extra) })
	return list
}
