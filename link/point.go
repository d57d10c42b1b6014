package link

import "time"

// LinkType says how a capture point's frames begin, in the numbering of
// pcap's LINKTYPE_ values.
type LinkType uint16

// Link types in use.
const (
	LinkEthernet LinkType = 1   // an Ethernet header comes first
	LinkRaw      LinkType = 101 // an IP header comes first
)

// Direction tells which way a frame passed a capture point, seen from the host
// that the point belongs to.
type Direction uint8

// Directions. The zero value is for points that have none.
const (
	DirectionUnknown Direction = iota
	In                         // received by the host
	Out                        // sent by the host
)

// String returns "in", "out" or "-".
func (d Direction) String() string {
	switch d {
	case In:
		return "in"
	case Out:
		return "out"
	}
	return "-"
}

// A Point is a place where frames can be watched and where drops are counted:
// an interface of a host, a bridge port, the end of a cable. A point that
// nobody watches costs a length test per frame. Its fields are set before
// traffic flows; the methods want the driver's lock.
type Point struct {
	Name string // unique in the lab, such as "node1/flannel.1"
	Type LinkType

	drv   *Driver
	obs   []Observer
	drops map[Reason]uint64
}

// An Observation is what an observer is told about one frame at one point.
type Observation struct {
	Time      time.Duration // since the driver started
	Point     *Point
	Direction Direction
	ID        uint64 // the datagram's, see Frame
	Bytes     []byte // valid during the call only
	Note      string // what happened just before, or ""
	Drop      Reason // set when the frame ends its life here
}

// An Observer is told of every frame that passes the points it watches. It is
// called with the driver's lock held, in the order of events, and must neither
// keep Bytes nor send frames.
type Observer interface {
	Observe(*Observation)
}

// Reason names why a frame was dropped, in a few words a person can read.
type Reason string

// Reasons used by this package; other packages have their own.
const (
	DropLinkDown  Reason = "link is down"
	DropQueueFull Reason = "queue is full"
	DropLoss      Reason = "lost on the cable"
	DropRED       Reason = "dropped early by RED"
	DropCoDel     Reason = "waited too long for CoDel"
	DropMTU       Reason = "larger than the MTU"
	DropRunt      Reason = "shorter than an Ethernet header"
	DropNoPeer    Reason = "nothing is connected"
	DropSource    Reason = "source is no unicast address"
	DropLinkLocal Reason = "link-local group address is not forwarded"
	DropOnlyPort  Reason = "destination is behind the port it came from"
	DropLoop      Reason = "bridged for ever: the frame is in a loop"
	DropStorm     Reason = "storm: too many frames at once"
	DropIsolated  Reason = "both ports are isolated"
)

// NewPoint returns a point of this driver.
func (d *Driver) NewPoint(name string, typ LinkType) *Point {
	return &Point{Name: name, Type: typ, drv: d}
}

// Watch adds an observer.
func (p *Point) Watch(o Observer) {
	p.obs = append(p.obs, o)
	p.drv.watching++
}

// Watching reports whether anybody watches any point: only then is it worth
// writing a note.
func (d *Driver) Watching() bool { return d.watching > 0 }

// Unwatch removes an observer; one that is not watching is ignored.
func (p *Point) Unwatch(o Observer) {
	for i, x := range p.obs {
		if x == o {
			p.obs = append(p.obs[:i:i], p.obs[i+1:]...)
			p.drv.watching--
			return
		}
	}
}

// Watched reports whether anybody watches, so that a caller can avoid writing
// a note that nobody reads.
func (p *Point) Watched() bool { return len(p.obs) > 0 }

// Pass reports that f passes the point.
func (p *Point) Pass(f *Frame, dir Direction) {
	if len(p.obs) == 0 {
		return
	}
	p.tell(f, dir, "")
	f.Note = ""
}

func (p *Point) tell(f *Frame, dir Direction, drop Reason) {
	ob := &p.drv.observation
	*ob = Observation{Time: p.drv.now, Point: p, Direction: dir, ID: f.ID, Bytes: f.Bytes(), Note: f.Note, Drop: drop}
	for _, o := range p.obs {
		o.Observe(ob)
	}
	*ob = Observation{}
}

// Drop counts and reports the end of f at this point, and releases it.
func (p *Point) Drop(f *Frame, why Reason) {
	p.Count(why)
	if len(p.obs) > 0 {
		p.tell(f, DirectionUnknown, why)
	}
	f.Release()
}

// Count counts a drop for which there is no frame any more.
func (p *Point) Count(why Reason) {
	if p.drops == nil {
		p.drops = make(map[Reason]uint64)
	}
	p.drops[why]++
}

// Drops returns how many frames ended at this point for the reason.
func (p *Point) Drops(why Reason) uint64 { return p.drops[why] }

// EachDrop calls f for every reason counted so far, in no particular order.
func (p *Point) EachDrop(f func(why Reason, n uint64)) {
	for why, n := range p.drops {
		f(why, n)
	}
}
