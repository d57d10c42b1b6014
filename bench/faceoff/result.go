package faceoff

import (
	"time"

	"github.com/podwire/podwire/emu/explain"
)

// SchemaID names the JSON form of a [Result]. It is stable: fields are added,
// not changed.
const SchemaID = "podwire/compare/v1"

// A Result is everything that one comparison has found. Text, Markdown, CSV,
// JSON and HTML are renderings of it and of nothing else. In JSON durations are
// nanoseconds, and what depends on the host is left out unless it was asked for:
// the same seed gives the same bytes.
type Result struct {
	Schema   string   `json:"schema"`
	Scenario Scenario `json:"scenario"`
	Settings Settings `json:"settings"`
	Topology Topology `json:"topology"`
	Designs  []Design `json:"designs"` // those that were measured, in the order of the registry or as asked for
	Unfit    []Unfit  `json:"unfit"`   // those that do not fit the scenario, and why

	Verdict     []string      `json:"verdict"` // what the figures say, a sentence each
	Measures    []Measure     `json:"measures"`
	Series      []Series      `json:"series"`
	Calibration []Calibration `json:"calibration"`
	Warnings    []string      `json:"warnings"`
}

// Scenario says what was compared.
type Scenario struct {
	Name string `json:"name"`
	File string `json:"file"`
	Text string `json:"text,omitempty"` // what its files say, one after another
	From string `json:"from"`           // the pod that sends
	To   string `json:"to"`             // the pod that receives
}

// Settings are what the figures depend on besides the scenario.
type Settings struct {
	Virtual bool     `json:"virtualTime"`
	Seeds   []uint64 `json:"seeds"`
	TCP     string   `json:"tcp"`
	CPU     string   `json:"cpu,omitempty"` // the model of the nodes' CPUs with its calibration, if it is on
	Podwire string   `json:"podwire"`       // versions
	Go      string   `json:"go"`
	GVisor  string   `json:"gvisor"`

	Wire          string        `json:"wire"`          // what the nodes' cables are like, in words
	Rate          int64         `json:"rate"`          // bit/s of the slowest cable between the nodes of From and To; 0: none has a rate
	MTU           int           `json:"mtu"`           // of the underlay
	WireOverhead  int           `json:"wireOverhead"`  // bytes that each frame takes on a cable besides its own: preamble, FCS, gap
	Window        time.Duration `json:"window"`        // how long a stream counts, once it is steady
	Groups        []string      `json:"groups"`        // of measures that were taken
	HostDependent bool          `json:"hostDependent"` // figures that depend on this host are among them
}

// Topology is the network of the scenario, the same for all designs.
type Topology struct {
	Segments []Segment `json:"segments"`
	Machines []Machine `json:"machines"` // nodes, then routers and hosts
	Pods     []Pod     `json:"pods"`
	Links    []Link    `json:"links"` // cables from machines to segments
}

// Segment is a switch of the underlay.
type Segment struct {
	Name   string `json:"name"`
	Subnet string `json:"subnet"`
	MTU    int    `json:"mtu"`
}

// Machine is a node or a machine outside.
type Machine struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // node, router or host
	Addr string `json:"address"`
}

// Pod is a pod and where it runs.
type Pod struct {
	Name string `json:"name"`
	Node string `json:"node"`
}

// Link is the cable from a machine to a segment.
type Link struct {
	Machine string        `json:"machine"`
	Segment string        `json:"segment"`
	Rate    int64         `json:"rate"`    // bit/s out of the machine; 0: unlimited
	Latency time.Duration `json:"latency"` // one way
	Loss    float64       `json:"loss"`    // share of frames
	Text    string        `json:"text"`    // both directions in words
}

// Design is one contestant.
type Design struct {
	Name     string        `json:"name"`
	Summary  string        `json:"summary"`
	Packet   *Packet       `json:"packet,omitempty"` // one full TCP segment between the nodes; nil if none was seen
	Path     []explain.Hop `json:"path"`             // of a ping and of its answer, point by point
	Checks   *Checks       `json:"checks,omitempty"` // what came of the scenario's own steps
	Warnings []string      `json:"warnings,omitempty"`
}

// Packet is the stack of headers of one packet, outermost first.
type Packet struct {
	Point  string  `json:"point"`  // where it was seen
	Bytes  int     `json:"bytes"`  // of the frame, without preamble, FCS and gap
	Layers []Layer `json:"layers"` // all of the frame, without a gap between them
}

// Layer is one header of a packet, its payload or a trailer.
type Layer struct {
	Name      string `json:"name"` // Ethernet, IPv4, UDP, VXLAN, TCP, payload, ...
	Offset    int    `json:"offset"`
	Bytes     int    `json:"bytes"`
	Role      string `json:"role"`                // underlay, tunnel, pod or payload
	Encrypted bool   `json:"encrypted,omitempty"` // what is known of it is known from before it was encrypted
	Text      string `json:"text,omitempty"`      // what it says: addresses, ports, VNI
}

// Roles of layers.
const (
	RoleUnderlay = "underlay" // what carries a packet between nodes under any design
	RoleTunnel   = "tunnel"   // what the design adds
	RolePod      = "pod"      // the pod's own packet
	RolePayload  = "payload"  // what the program has sent
)

// Checks is what came of the scenario's own steps.
type Checks struct {
	Passed bool     `json:"passed"`
	Steps  int      `json:"steps"`
	Failed []string `json:"failed,omitempty"` // steps that failed, with what they found
}

// Unfit is a design that was left out.
type Unfit struct {
	Design string `json:"design"`
	Reason string `json:"reason"`
}

// Better says in which direction a measure is better.
type Better string

// Directions.
const (
	Lower   Better = "lower"
	Higher  Better = "higher"
	Neither Better = "" // it describes and does not judge
)

// A Measure is one line of the comparison.
type Measure struct {
	ID     string `json:"id"`
	Group  string `json:"group"`
	Title  string `json:"title"`
	Short  string `json:"short"` // for the head of a column
	Unit   Unit   `json:"unit"`
	Better Better `json:"better,omitempty"`

	What  string `json:"what"`  // what it is
	How   string `json:"how"`   // how it was measured
	Limit string `json:"limit"` // what limits it

	HostDependent bool    `json:"hostDependent,omitempty"`
	Key           bool    `json:"key,omitempty"` // one of the few that a short table shows
	Values        []Value `json:"values"`        // one for each of Result.Designs, in that order
}

// Unit is what a value counts.
type Unit string

// Units. Times are in seconds, rates in bit/s, shares from 0 to 1.
const (
	Bytes   Unit = "B"
	Seconds Unit = "s"
	BitRate Unit = "bit/s"
	Share   Unit = "share"
	PerSec  Unit = "1/s"
	Count   Unit = "count"
	Entries Unit = "entries"
)

// A Value is a measure of one design.
type Value struct {
	Design string   `json:"design"`
	Value  *float64 `json:"value"`            // the median over all seeds; null if there is none
	Note   string   `json:"note,omitempty"`   // why there is none, or what to know
	Spread *Spread  `json:"spread,omitempty"` // over several seeds
}

// Spread is how far the values of several seeds lie apart.
type Spread struct {
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Stddev float64   `json:"stddev"` // of the sample
	All    []float64 `json:"all"`    // in the order of the seeds
}

// A Series is something over time, under one design.
type Series struct {
	ID     string  `json:"id"` // the same for all designs
	Title  string  `json:"title"`
	Design string  `json:"design"`
	Name   string  `json:"name"` // of the curve: "goodput"
	Unit   Unit    `json:"unit"`
	Points []Point `json:"points"`
	Marks  []Mark  `json:"marks,omitempty"` // what happened meanwhile
}

// Point is one sample.
type Point struct {
	Time  time.Duration `json:"time"` // since the series began
	Value float64       `json:"value"`
}

// Mark is a moment at which something happened.
type Mark struct {
	Time time.Duration `json:"time"`
	Text string        `json:"text"`
}

// A Calibration is a figure of the emulator held against theory.
type Calibration struct {
	ID       string  `json:"id"`
	Title    string  `json:"title"`
	Design   string  `json:"design"`
	Unit     Unit    `json:"unit"`
	Measured float64 `json:"measured"`
	Theory   float64 `json:"theory"`
	Error    float64 `json:"error"`   // measured / theory - 1
	Formula  string  `json:"formula"` // how the theory has come to its figure, in numbers
	Bound    float64 `json:"bound"`   // the error that is still agreement
	Agrees   bool    `json:"agrees"`
}

// Find returns the measure of that id, or nil.
func (r *Result) Find(id string) *Measure {
	for i := range r.Measures {
		if r.Measures[i].ID == id {
			return &r.Measures[i]
		}
	}
	return nil
}

// Of returns the value of a design, or nil if it has none.
func (m *Measure) Of(design string) *float64 {
	if m == nil {
		return nil
	}
	for _, v := range m.Values {
		if v.Design == design {
			return v.Value
		}
	}
	return nil
}
