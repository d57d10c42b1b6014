package topo

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
)

// Flows is traffic that runs for a while, beside the faults; several flows run
// beside each other.
type Flows struct{ List []Flow }

// Flow is one of them.
type Flow struct {
	Pos      Pos
	Kind     Field[string] // one of emu.FlowKinds
	From, To Ref
	URL      Field[string] // of http, instead of to
	Host     Ref           // the URL's host, with the port to connect to
	For      Field[time.Duration]
	Every    Field[time.Duration] // between datagrams, requests or pings; not set: 10 ms
	Rate     Field[uint64]        // instead of every, of udp: bit/s of payload
	Size     Field[int]           // bytes of each; not set: 1000, of a ping 56
	Sample   Field[time.Duration] // how far apart samples are; not set: a fiftieth of For
	Expect   FlowExpect
}

// FlowExpect is what a flow must find.
type FlowExpect struct {
	Goodput     Field[Bound] // bit/s of payload
	Loss        Field[Bound] // share of datagrams, requests or pings
	P50, P99    Field[Bound] // of the delay, in nanoseconds: round trip, of udp one way
	Max         Field[Bound]
	Recovers    Field[Bound] // the longest time in which nothing arrived, in nanoseconds
	Retransmits Field[Bound]
}

// A Bound is a comparison such as >900Mbit; the zero Op is =.
type Bound struct {
	Op    string // <, <=, >, >= or =
	Value float64
	Text  string // as written
}

// Holds reports whether v keeps the bound.
func (b Bound) Holds(v float64) bool {
	switch b.Op {
	case "<":
		return v < b.Value
	case "<=":
		return v <= b.Value
	case ">":
		return v > b.Value
	case ">=":
		return v >= b.Value
	}
	return v == b.Value
}

// bound decodes a comparison; parse reads what follows the sign.
func bound[T time.Duration | uint64 | float64](m mapping, key, want string, parse func(string) (T, error)) Field[Bound] {
	return decode(m, key, want, func(s string) (b Bound, err error) {
		b.Text, b.Op = s, "="
		rest := s
		for _, op := range []string{"<=", ">=", "<", ">", "="} {
			if after, ok := strings.CutPrefix(s, op); ok {
				b.Op, rest = op, after
				break
			}
		}
		v, err := parse(strings.TrimSpace(rest))
		b.Value = float64(v)
		return b, err
	})
}

func (l *load) decodeFlow(step mapping, s *Step) {
	f := &Flows{}
	s.Action = f
	n := mapValue(step.node, "flow")
	if n.Kind == yaml.SequenceNode {
		step.list("flow", "a list of flows", func(path string, n *yaml.Node) { l.decodeOneFlow(step.d, path, n, f) })
		return
	}
	l.decodeOneFlow(step.d, step.path("flow"), n, f)
}

func (l *load) decodeOneFlow(d *document, path string, n *yaml.Node, to *Flows) {
	m, ok := l.mapping(d, n, path, "kind", "from", "to", "url", "for", "every", "rate", "size", "sample", "expect")
	if !ok {
		return
	}
	var kinds []string
	for _, k := range emu.FlowKinds {
		kinds = append(kinds, string(k))
	}
	f := Flow{
		Pos: d.pos(n), Kind: m.word("kind", kinds), From: m.ref("from"), To: m.ref("to"), For: m.duration("for"),
		Every: m.duration("every"), Rate: decode(m, "rate", wantRate, ParseRate), Size: m.integer("size", 16, 65507), Sample: m.duration("sample"),
	}
	want, other := "to", "url"
	if f.Kind.Value == string(emu.HTTPFlow) {
		want, other = "url", "to"
		if f.URL = m.url("url"); f.URL.IsSet() {
			f.Host = urlHost(f.URL)
		}
	}
	if f.Kind.IsSet() && m.get(other) != nil {
		l.reportAt(d, keyNode(n, other), Diagnostic{Rule: "ambiguous", Message: fmt.Sprintf("%s: a %s flow has no %s, want %s", path, f.Kind.Value, other, want)})
	}
	for _, key := range []string{"kind", "from", want, "for"} {
		if m.get(key) == nil {
			l.reportAt(d, n, Diagnostic{Rule: "missing-value", Message: fmt.Sprintf("%s: no %s, want one", path, key)})
		}
	}
	if f.Rate.IsSet() && (f.Every.IsSet() || f.Kind.Value != string(emu.UDPFlow)) {
		l.addAt(f.Rate.Pos, Diagnostic{Rule: "ambiguous", Message: path + ": rate is for udp, instead of every"})
	}
	for _, t := range []Field[time.Duration]{f.For, f.Every, f.Sample} {
		if t.IsSet() && t.Value <= 0 {
			l.addAt(t.Pos, Diagnostic{Rule: "bad-value", Message: path + ": found 0s, want a longer time"})
		}
	}
	if e := m.get("expect"); e != nil {
		f.Expect = l.decodeFlowExpect(d, m.path("expect"), e, f.Kind.Value)
	}
	to.List = append(to.List, f)
}

// flowExpect are the checks of a flow, and the kinds that have them.
var flowExpect = map[string]string{
	"goodput": "bulk requests connects udp http", "loss": "requests connects udp ping http",
	"p50": "bulk requests connects udp ping http", "p99": "bulk requests connects udp ping http",
	"max": "bulk requests connects udp ping http", "recovers": "bulk requests connects udp ping http", "retransmits": "bulk requests",
}

func (l *load) decodeFlowExpect(d *document, path string, n *yaml.Node, kind string) (e FlowExpect) {
	m, ok := l.mapping(d, n, path, slices.Sorted(maps.Keys(flowExpect))...)
	if !ok {
		return e
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; kind != "" && flowExpect[k.Value] != "" && !slices.Contains(strings.Fields(flowExpect[k.Value]), kind) {
			l.reportAt(d, k, Diagnostic{Rule: "useless-expect", Message: fmt.Sprintf("%s: a %s flow has no %s to check", path, kind, k.Value)})
		}
	}
	const wantTime, wantGoodput, wantShare = `a bound such as "<30ms"`, `a bound such as ">900Mbit"`, `a bound such as "<1%" or 0%`
	return FlowExpect{
		Goodput: bound(m, "goodput", wantGoodput, ParseRate), Loss: bound(m, "loss", wantShare, ParsePercent),
		P50: bound(m, "p50", wantTime, ParseDuration), P99: bound(m, "p99", wantTime, ParseDuration), Max: bound(m, "max", wantTime, ParseDuration),
		Recovers:    bound(m, "recovers", wantTime, ParseDuration),
		Retransmits: bound(m, "retransmits", `a bound such as ">0"`, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 32) }),
	}
}

// Verb implements Action.
func (f *Flows) Verb() string { return "flow" }

func (f *Flows) title() string {
	if len(f.List) == 1 {
		return f.List[0].title()
	}
	return plural(len(f.List), "flow") + " beside each other"
}

func (f *Flow) title() string {
	return fmt.Sprintf("%s %s -> %s for %v", f.Kind.Value, f.From.Text, f.target(), f.For.Value)
}

// target is what the flow goes to, as written.
func (f *Flow) target() string {
	if f.URL.IsSet() {
		return f.URL.Value
	}
	return f.To.Text
}

func (f *Flows) resolve(l *load, at string) {
	for i := range f.List {
		l.resolve(&f.List[i].From, at+".from", RefPod, RefNode, RefHost)
		l.resolve(&f.List[i].To, at+".to", RefPod, RefNode, RefHost)
		l.resolve(&f.List[i].Host, at+".url", RefService, RefIngress, RefPod, RefNode, RefHost, RefIP)
	}
}

func (f *Flows) play(p *player) {
	var configs []emu.FlowConfig
	for _, x := range f.List {
		c := emu.FlowConfig{
			Kind: emu.FlowKind(x.Kind.Value), From: p.machine(x.From), To: p.machine(x.To),
			For: x.For.Value, Interval: x.Every.Value, Size: x.Size.Value, Sample: x.Sample.Value,
		}
		if x.URL.IsSet() {
			if c.URL = x.URL.Value; x.Host.Kind == RefPod {
				c.To = p.machine(x.Host) // wherever it is by then
			} else {
				c.Connect = net.JoinHostPort(p.address(x.Host), strconv.Itoa(x.Host.Port))
			}
		}
		if x.Rate.IsSet() {
			size := max(c.Size, 0)
			if size == 0 {
				size = 1000
			}
			c.Interval = max(1, time.Duration(float64(size)*8e9/float64(x.Rate.Value)))
		}
		configs = append(configs, c)
	}
	results, err := p.lab.RunFlows(configs...)
	if p.err = err; err != nil {
		return
	}
	var outcome []string
	for i := range results {
		f.List[i].check(p, &results[i], len(results) > 1)
		r := newFlowResult(&f.List[i], &results[i])
		p.result.Flows = append(p.result.Flows, r)
		outcome = append(outcome, r.String())
	}
	p.result.Outcome = strings.Join(outcome, "; ")
}

// check compares a result with what was expected; several flows are told apart
// by their title.
func (f *Flow) check(p *player, r *emu.FlowResult, several bool) {
	e := f.Expect
	isTime := map[string]bool{"p50": true, "p99": true, "max": true, "recovers": true}
	nano := func(v float64) string { return time.Duration(v).String() }
	for _, c := range []struct {
		what  string
		bound Field[Bound]
		got   float64
		text  func(float64) string
	}{
		{"goodput", e.Goodput, r.Goodput, bitRate}, {"loss", e.Loss, r.Loss(), percent},
		{"p50", e.P50, float64(r.P50), nano}, {"p99", e.P99, float64(r.P99), nano}, {"max", e.Max, float64(r.Max), nano},
		{"recovers", e.Recovers, float64(r.LongestGap), nano},
		{"retransmits", e.Retransmits, float64(r.Retransmits), func(v float64) string { return strconv.Itoa(int(v)) }},
	} {
		if !c.bound.IsSet() {
			continue
		}
		what := c.what
		if several {
			what = f.title() + ": " + what
		}
		if b := c.bound.Value; b.Op == "=" && isTime[c.what] {
			p.exactly(what, time.Duration(c.got), time.Duration(b.Value), b.Text)
			continue
		}
		p.result.check(what, c.text(c.got), c.bound.Value.Text, c.bound.Value.Holds(c.got))
	}
}

// bitRate prints a rate as scenarios write it.
func bitRate(v float64) string {
	for _, u := range []struct {
		factor float64
		unit   string
	}{{1e9, "Gbit"}, {1e6, "Mbit"}, {1e3, "kbit"}} {
		if v >= u.factor {
			return strconv.FormatFloat(v/u.factor, 'f', 2, 64) + u.unit
		}
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + "bit"
}

// A FlowResult is what came of one flow of a step.
type FlowResult struct {
	Kind        string           `json:"kind"`
	From        string           `json:"from"`
	To          string           `json:"to"`
	Sent        int              `json:"sent"`     // datagrams, requests, pings; not of a bulk flow
	Received    int              `json:"received"` // the same; of a bulk flow bytes
	Goodput     float64          `json:"goodput"`  // bit/s
	P50         time.Duration    `json:"p50"`
	P99         time.Duration    `json:"p99"`
	Max         time.Duration    `json:"max"`
	LongestGap  time.Duration    `json:"longestGap"`
	Retransmits uint64           `json:"retransmits"`
	Drops       []emu.FlowDrop   `json:"drops,omitempty"`
	Series      []emu.FlowSample `json:"series"`
}

func newFlowResult(f *Flow, r *emu.FlowResult) FlowResult {
	return FlowResult{
		Kind: f.Kind.Value, From: f.From.Text, To: f.target(), Sent: r.Sent, Received: r.Received, Goodput: r.Goodput,
		P50: r.P50, P99: r.P99, Max: r.Max, LongestGap: r.LongestGap, Retransmits: r.Retransmits, Drops: r.Drops, Series: r.Series,
	}
}

// String is the result in one line.
func (r FlowResult) String() string {
	text := fmt.Sprintf("%s: %d of %d, ", r.Kind, r.Received, r.Sent)
	if r.Kind == string(emu.BulkFlow) {
		text = fmt.Sprintf("%s: %s, %d retransmitted, ", r.Kind, bitRate(r.Goodput), r.Retransmits)
	}
	text += fmt.Sprintf("delay p50 %v p99 %v, longest gap %v", r.P50, r.P99, r.LongestGap)
	for _, d := range r.Drops {
		text += fmt.Sprintf(", %d dropped at %s (%s)", d.Frames, d.Place, d.Reason)
	}
	return text
}
