package topo

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/link"
)

// Link is the behaviour of one cable. Fields that are not set stay as they are,
// or as those of the link that this one is based on.
type Link struct {
	Pos       Pos
	Preset    Field[string]        // name of a link.Preset; the other fields change it
	Latency   Field[time.Duration] // one way
	Jitter    Field[link.Jitter]
	Reorder   Field[float64] // share of frames that skip the latency
	Rate      Field[uint64]  // bits per second; 0 is unlimited
	Burst     Field[uint64]  // bytes of the token bucket
	MTU       Field[int]     // bytes of IP packet; default 1500
	Queue     Field[Queue]
	Loss      Field[Loss]
	Duplicate Field[float64] // share of frames that arrive twice
	Corrupt   Field[float64] // share of frames with a flipped bit

	// Out and In are what differs in the direction from and to the machine. They
	// have no presets and no directions themselves.
	Out, In *Link
}

// Queue is what may wait for a rated cable, and how it is managed.
type Queue struct {
	Frames int
	Bytes  int
	AQM    link.AQM
}

// Loss is how frames are lost.
type Loss struct {
	Random float64
	Burst  link.GilbertElliott
	Trace  *link.LossTrace
}

// apply changes the settings of both directions as l says.
func (l *Link) apply(out, in *link.WireConfig) {
	if l.Preset.IsSet() {
		p, _ := link.FindPreset(l.Preset.Value)
		p.Up.MTU, p.Down.MTU = out.MTU, in.MTU
		*out, *in = p.Up, p.Down
	}
	l.applyTo(out)
	l.applyTo(in)
	if l.Out != nil {
		l.Out.applyTo(out)
	}
	if l.In != nil {
		l.In.applyTo(in)
	}
}

// applyTo changes the settings of one direction.
func (l *Link) applyTo(c *link.WireConfig) {
	assign(&c.Latency, l.Latency)
	assign(&c.Jitter, l.Jitter)
	assign(&c.Reorder, l.Reorder)
	assign(&c.MTU, l.MTU)
	assign(&c.Duplicate, l.Duplicate)
	assign(&c.Corrupt, l.Corrupt)
	if l.Rate.IsSet() {
		c.Rate = int64(l.Rate.Value)
	}
	if l.Burst.IsSet() {
		c.Burst = int(l.Burst.Value)
	}
	if q := l.Queue; q.IsSet() {
		c.Queue, c.QueueBytes, c.AQM = q.Value.Frames, q.Value.Bytes, q.Value.AQM
	}
	if l.Loss.IsSet() {
		c.Loss, c.LossBurst, c.LossTrace = l.Loss.Value.Random, l.Loss.Value.Burst, l.Loss.Value.Trace
	}
}

// assign sets v to what was written, if anything was.
func assign[T any](v *T, f Field[T]) {
	if f.IsSet() {
		*v = f.Value
	}
}

// linkKeys are the settings of a cable in a scenario; the last three are not
// those of one direction.
var linkKeys = []string{"latency", "jitter", "reorder", "rate", "burst", "mtu", "queue", "loss", "duplicate", "corrupt", "preset", "out", "in"}

func directionKeys() []string { return linkKeys[:len(linkKeys)-3] }

// link decodes the cable under key, if it is written.
func (m mapping) link(key string) Link {
	n := m.get(key)
	if n == nil {
		return Link{}
	}
	lm, ok := m.l.mapping(m.d, n, m.path(key), linkKeys...)
	if !ok {
		return Link{}
	}
	return decodeLink(lm)
}

// decodeLink reads the settings that stand in m, among other keys perhaps.
func decodeLink(m mapping) Link {
	l := decodeDirection(m)
	l.Preset = m.word("preset", presetNames())
	for key, to := range map[string]**Link{"out": &l.Out, "in": &l.In} {
		n := m.get(key)
		if n == nil {
			continue
		}
		if dm, ok := m.l.mapping(m.d, n, m.path(key), directionKeys()...); ok {
			d := decodeDirection(dm)
			*to = &d
		}
	}
	m.l.checkLink(m, &l)
	return l
}

func decodeDirection(m mapping) Link {
	const minMTU, maxMTU = 68, 65535 // RFC 791 §3.1: every internet module forwards 68 octets
	return Link{
		Pos:       m.d.pos(m.node),
		Latency:   m.duration("latency"),
		Jitter:    m.jitter("jitter"),
		Reorder:   m.percent("reorder"),
		Rate:      decode(m, "rate", wantRate+", or unlimited", rateOrUnlimited),
		Burst:     decode(m, "burst", wantSize, ParseSize),
		MTU:       m.integer("mtu", minMTU, maxMTU),
		Queue:     m.queue("queue"),
		Loss:      m.loss("loss"),
		Duplicate: m.percent("duplicate"),
		Corrupt:   m.percent("corrupt"),
	}
}

// checkLink finds settings that are good one by one and make no cable.
func (l *load) checkLink(m mapping, k *Link) {
	var out, in link.WireConfig
	if r := k.Reorder; r.IsSet() && !k.Latency.IsSet() {
		out.Latency, in.Latency = 1, 1 // it may be that of the underlay
	}
	k.apply(&out, &in)
	for _, c := range []link.WireConfig{out, in} {
		if err := c.Validate(); err != nil {
			l.reportAt(m.d, m.node, Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("%s: %s", m.what, strings.TrimPrefix(err.Error(), "link: wire: "))})
			return
		}
	}
}

func presetNames() (names []string) {
	for _, p := range link.Presets() {
		names = append(names, p.Name)
	}
	return names
}

func rateOrUnlimited(s string) (uint64, error) {
	if s == "unlimited" {
		return 0, nil
	}
	return ParseRate(s)
}

// open returns the mapping under key, or false if there is something else, such
// as a scalar for the short form.
func (m mapping) open(key string, known ...string) (mapping, bool) {
	n := m.get(key)
	if n == nil || n.Kind != yaml.MappingNode {
		return mapping{}, false
	}
	return m.l.mapping(m.d, n, m.path(key), known...)
}

// jitter decodes 5ms, or {spread: 5ms, shape: pareto, trace: FILE}.
func (m mapping) jitter(key string) (f Field[link.Jitter]) {
	sub, long := m.open(key, "spread", "shape", "trace")
	if !long {
		d := decode(m, key, wantDuration+", or {spread, shape, trace}", ParseDuration)
		return Field[link.Jitter]{link.Jitter{Spread: d.Value}, d.Pos}
	}
	f.Pos = m.d.pos(sub.node)
	f.Value.Spread = sub.duration("spread").Value
	shapes := []string{link.UniformJitter.String(), link.NormalJitter.String(), link.ParetoJitter.String()}
	if w := sub.word("shape", shapes); w.IsSet() {
		f.Value.Shape = link.JitterShape(slices.Index(shapes, w.Value))
	}
	f.Value.Trace = trace(sub, link.ParseDelayTrace)
	return f
}

// loss decodes 1%, or {random: 1%, enter: 0.5%, leave: 20%, bad: 100%, good:
// 0%, trace: FILE}.
func (m mapping) loss(key string) (f Field[Loss]) {
	sub, long := m.open(key, "random", "enter", "leave", "bad", "good", "trace")
	if !long {
		p := m.percent(key)
		return Field[Loss]{Loss{Random: p.Value}, p.Pos}
	}
	f.Pos = m.d.pos(sub.node)
	f.Value = Loss{
		Random: sub.percent("random").Value,
		Burst:  link.GilbertElliott{Enter: sub.percent("enter").Value, Leave: sub.percent("leave").Value, Bad: sub.percent("bad").Value, Good: sub.percent("good").Value},
		Trace:  trace(sub, link.ParseLossTrace),
	}
	return f
}

// trace reads the file that is named under trace, beside the scenario.
func trace[T any](m mapping, parse func(string) (*T, error)) *T {
	f := decode(m, "trace", "a file", func(s string) (*T, error) {
		path := s
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(m.l.sc.File), path)
		}
		data, problem := readFile(path, false)
		if problem != "" {
			return nil, hint(problem + "; paths are relative to the scenario file")
		}
		t, err := parse(string(data))
		if err != nil {
			return nil, hint(err.Error())
		}
		return t, nil
	})
	return f.Value
}

// disciplines are the words for queue disciplines, tc's.
var disciplines = map[string]link.AQMKind{"drop-tail": link.DropTail, "red": link.RED, "codel": link.CoDel, "fq_codel": link.FQCoDel}

const wantQueue = "a number of frames, a size such as 64KiB, one of drop-tail, red, codel, fq_codel, or {discipline, frames, size, ecn, ...}"

// queue decodes 100 (frames), 64KiB, fq_codel, or all of it as a mapping.
func (m mapping) queue(key string) Field[Queue] {
	sub, long := m.open(key, "discipline", "frames", "size", "ecn", "target", "interval", "flows", "quantum", "min", "max", "probability")
	if !long {
		return decode(m, key, wantQueue, parseQueue)
	}
	q := Queue{
		Frames: sub.integer("frames", 1, 1<<20).Value,
		Bytes:  int(decode(sub, "size", wantSize, ParseSize).Value),
		AQM: link.AQM{
			Kind:        disciplines[sub.word("discipline", []string{"drop-tail", "red", "codel", "fq_codel"}).Value],
			ECN:         sub.boolean("ecn").Value,
			Target:      sub.duration("target").Value,
			Interval:    sub.duration("interval").Value,
			Flows:       sub.integer("flows", 1, 1<<16).Value,
			Quantum:     sub.integer("quantum", 1, 1<<20).Value,
			Min:         int(decode(sub, "min", wantSize, ParseSize).Value),
			Max:         int(decode(sub, "max", wantSize, ParseSize).Value),
			Probability: sub.percent("probability").Value,
		},
	}
	return Field[Queue]{q, m.d.pos(sub.node)}
}

func parseQueue(s string) (q Queue, err error) {
	if kind, ok := disciplines[s]; ok {
		q.AQM.Kind = kind
		return q, nil
	}
	if n, err := strconv.ParseUint(s, 10, 20); err == nil && n > 0 {
		q.Frames = int(n)
		return q, nil
	}
	size, err := ParseSize(s)
	if err != nil || size == 0 || isNumber(s) || size > 1<<40 {
		return q, strconv.ErrSyntax
	}
	q.Bytes = int(size)
	return q, nil
}
