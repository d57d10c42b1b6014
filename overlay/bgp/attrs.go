package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// Attrs are the attributes of a path (RFC 4271 §5). They are shared between paths
// and must not be changed.
type Attrs struct {
	Origin      uint8 // 0 IGP, 1 EGP, 2 incomplete
	ASPath      []Segment
	NextHop     netip.Addr // the zero value means this speaker
	MED         uint32
	HasMED      bool
	LocalPref   uint32
	Communities []uint32
	Originator  netip.Addr   // RFC 4456 §8; zero unless the path was reflected
	ClusterList []netip.Addr // reflectors on the way, the latest first

	others []bgp.PathAttributeInterface // that are passed on as they came
}

// A Segment of an AS path: a sequence, or a set that counts as one.
type Segment struct {
	Set bool
	AS  []uint32
}

// pathLength is the length of the AS path as the decision process counts it.
func (a *Attrs) pathLength() (n int) {
	for _, s := range a.ASPath {
		if s.Set {
			n++
		} else {
			n += len(s.AS)
		}
	}
	return n
}

// neighbourAS is the first of the AS path, 0 of an empty one.
func (a *Attrs) neighbourAS() uint32 {
	if len(a.ASPath) == 0 || a.ASPath[0].Set || len(a.ASPath[0].AS) == 0 {
		return 0
	}
	return a.ASPath[0].AS[0]
}

// count is how often an AS is in the path.
func (a *Attrs) count(as uint32) (n int) {
	for _, s := range a.ASPath {
		for _, x := range s.AS {
			if x == as {
				n++
			}
		}
	}
	return n
}

// PathString prints the AS path as BIRD does.
func (a *Attrs) PathString() string {
	var words []string
	for _, s := range a.ASPath {
		text := strings.Trim(fmt.Sprint(s.AS), "[]")
		if s.Set {
			text = "{" + text + "}"
		}
		words = append(words, text)
	}
	return strings.Join(words, " ")
}

// OriginString is IGP, EGP or Incomplete.
func (a *Attrs) OriginString() string {
	return [...]string{"IGP", "EGP", "Incomplete"}[min(a.Origin, 2)]
}

// prepended is the AS path with one more AS in front.
func (a *Attrs) prepended(as uint32) []Segment {
	path := slices.Clone(a.ASPath)
	if len(path) > 0 && !path[0].Set && len(path[0].AS) < 255 {
		path[0] = Segment{AS: append([]uint32{as}, path[0].AS...)}
		return path
	}
	return append([]Segment{{AS: []uint32{as}}}, path...)
}

// encode makes the attributes of an UPDATE, by type as RFC 4271 §5 wants it.
func (a *Attrs) encode(internal, as4 bool) []bgp.PathAttributeInterface {
	nextHop, _ := bgp.NewPathAttributeNextHop(a.NextHop)
	list := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(a.Origin), asPath(a.ASPath, as4), nextHop}
	if a.HasMED {
		list = append(list, bgp.NewPathAttributeMultiExitDisc(a.MED))
	}
	if internal {
		list = append(list, bgp.NewPathAttributeLocalPref(a.LocalPref))
	}
	if len(a.Communities) > 0 {
		list = append(list, bgp.NewPathAttributeCommunities(a.Communities))
	}
	if internal && a.Originator.IsValid() {
		originator, _ := bgp.NewPathAttributeOriginatorId(a.Originator)
		list = append(list, originator)
	}
	if internal && len(a.ClusterList) > 0 {
		clusters, _ := bgp.NewPathAttributeClusterList(a.ClusterList)
		list = append(list, clusters)
	}
	if !as4 && a.wide() {
		list = append(list, as4Path(a.ASPath))
	}
	list = append(list, a.others...)
	slices.SortStableFunc(list, func(x, y bgp.PathAttributeInterface) int { return int(x.GetType()) - int(y.GetType()) })
	return list
}

// asTrans stands for an AS number that does not fit into two octets (RFC 6793 §4.2.2).
const asTrans = 23456

func (a *Attrs) wide() bool {
	return slices.ContainsFunc(a.ASPath, func(s Segment) bool {
		return slices.ContainsFunc(s.AS, func(as uint32) bool { return as > 0xffff })
	})
}

func segmentType(s Segment) uint8 {
	if s.Set {
		return bgp.BGP_ASPATH_ATTR_TYPE_SET
	}
	return bgp.BGP_ASPATH_ATTR_TYPE_SEQ
}

func asPath(path []Segment, as4 bool) bgp.PathAttributeInterface {
	list := make([]bgp.AsPathParamInterface, 0, len(path))
	for _, s := range path {
		if as4 {
			list = append(list, bgp.NewAs4PathParam(segmentType(s), s.AS))
			continue
		}
		narrow := make([]uint16, len(s.AS))
		for i, as := range s.AS {
			if narrow[i] = uint16(as); as > 0xffff {
				narrow[i] = asTrans
			}
		}
		list = append(list, bgp.NewAsPathParam(segmentType(s), narrow))
	}
	return bgp.NewPathAttributeAsPath(list)
}

func as4Path(path []Segment) bgp.PathAttributeInterface {
	list := make([]*bgp.As4PathParam, 0, len(path))
	for _, s := range path {
		list = append(list, bgp.NewAs4PathParam(segmentType(s), s.AS))
	}
	return bgp.NewPathAttributeAs4Path(list)
}

// decodeAttrs reads the attributes of an UPDATE that was found to be valid.
func decodeAttrs(list []bgp.PathAttributeInterface) *Attrs {
	a := &Attrs{LocalPref: 100}
	var wide []Segment
	for _, attr := range list {
		switch x := attr.(type) {
		case *bgp.PathAttributeOrigin:
			a.Origin = x.Value
		case *bgp.PathAttributeAsPath:
			for _, s := range x.Value {
				a.ASPath = append(a.ASPath, Segment{s.GetType() == bgp.BGP_ASPATH_ATTR_TYPE_SET, s.GetAS()})
			}
		case *bgp.PathAttributeAs4Path:
			for _, s := range x.Value {
				wide = append(wide, Segment{s.Type == bgp.BGP_ASPATH_ATTR_TYPE_SET, s.AS})
			}
		case *bgp.PathAttributeNextHop:
			a.NextHop = x.Value
		case *bgp.PathAttributeMultiExitDisc:
			a.MED, a.HasMED = x.Value, true
		case *bgp.PathAttributeLocalPref:
			a.LocalPref = x.Value
		case *bgp.PathAttributeCommunities:
			a.Communities = x.Value
		case *bgp.PathAttributeOriginatorId:
			a.Originator = x.Value
		case *bgp.PathAttributeClusterList:
			a.ClusterList = x.Value
		case *bgp.PathAttributeUnknown:
			if x.GetFlags()&bgp.BGP_ATTR_FLAG_TRANSITIVE != 0 { // RFC 4271 §9: pass it on, marked
				a.others = append(a.others, bgp.NewPathAttributeUnknown(x.GetFlags()|bgp.BGP_ATTR_FLAG_PARTIAL, x.GetType(), x.Value))
			}
		case *bgp.PathAttributeMpReachNLRI, *bgp.PathAttributeMpUnreachNLRI:
		default:
			if attr.GetFlags()&bgp.BGP_ATTR_FLAG_TRANSITIVE != 0 {
				a.others = append(a.others, attr)
			}
		}
	}
	a.mergeAS4(wide)
	return a
}

// mergeAS4 puts the AS numbers that a two-octet path could not hold in their
// places (RFC 6793 §4.2.3).
func (a *Attrs) mergeAS4(wide []Segment) {
	w := Attrs{ASPath: wide}
	keep := a.pathLength() - w.pathLength()
	if len(wide) == 0 || keep < 0 {
		return
	}
	var path []Segment
	for _, s := range a.ASPath {
		switch {
		case keep == 0:
		case s.Set:
			path = append(path, s)
			keep--
		default:
			n := min(keep, len(s.AS))
			path = append(path, Segment{AS: s.AS[:n]})
			keep -= n
		}
	}
	a.ASPath = append(path, wide...)
}
