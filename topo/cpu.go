package topo

import (
	"bytes"
	"fmt"
	"path/filepath"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
)

// CPU is the model of the nodes' CPUs.
type CPU struct {
	Pos         Pos
	On          bool
	Cores       Field[int]    // of each node, default 1
	Backlog     Field[int]    // net.core.netdev_max_backlog, default 1000
	Calibration Field[string] // path, relative to the scenario; default emu.DefaultCalibration

	read emu.Calibration
}

// decodeCPU reads `cpu: true`, or the settings of the model.
func (l *load) decodeCPU(cluster mapping) (c CPU) {
	n := cluster.get("cpu")
	if n == nil {
		return c
	}
	c.Pos = cluster.d.pos(n)
	if n.Kind == yaml.ScalarNode {
		c.On = cluster.boolean("cpu").Value
		return c
	}
	m, ok := l.mapping(cluster.d, n, "cluster.cpu", "cores", "backlog", "calibration")
	if !ok {
		return c
	}
	c.On = true
	c.Cores = m.integer("cores", 1, 1024)
	c.Backlog = m.integer("backlog", 1, 1<<30)
	c.Calibration = m.str("calibration")
	c.read = l.calibration(c.Calibration)
	return c
}

// calibration reads a calibration file; no name is the default.
func (l *load) calibration(name Field[string]) (c emu.Calibration) {
	if name.Value == "" {
		return c
	}
	path := name.Value
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(l.sc.File), path)
	}
	data, problem := readFile(path, false)
	if problem == "" && len(data) > MaxFileSize {
		problem = fmt.Sprintf("the file is larger than %d MiB", MaxFileSize>>20)
	}
	if problem == "" {
		var err error
		if c, err = emu.ReadCalibration(bytes.NewReader(data)); err != nil {
			problem = err.Error()
		}
	}
	if problem != "" {
		l.addAt(name.Pos, Diagnostic{Rule: "calibration", Message: fmt.Sprintf("file %s: %s", quoted(name.Value), problem),
			Hint: "paths are relative to the scenario file; emu/calibration.yaml is an example"})
	}
	return c
}

// config is the CPU model for a lab, nil if there is none.
func (c *CPU) config() *emu.CPUConfig {
	if !c.On {
		return nil
	}
	return &emu.CPUConfig{Cores: c.Cores.Value, Backlog: c.Backlog.Value, Calibration: c.read}
}

// Slow is a node whose CPU is slower than it was; undone, it is as calibrated.
type Slow struct {
	Node   Ref
	Factor Field[int]
}

const hintCPU = "cluster: {cpu: true} switches the CPU model on"

func (l *load) decodeSlow(step mapping, s *Step) {
	x := &Slow{}
	s.Action = x
	m, ok := l.verb(step, "slow", []string{"node", "factor"})
	if !ok {
		return
	}
	x.Node, x.Factor = m.ref("node"), m.integer("factor", 1, 1e6)
	if !l.sc.Cluster.CPU.On {
		l.reportAt(step.d, step.get("slow"), Diagnostic{Rule: "missing-value", Message: step.path("slow") + ": a node has no CPU to be short of",
			Hint: hintCPU})
	}
}

// Verb implements Action.
func (x *Slow) Verb() string { return "slow" }

func (x *Slow) title() string              { return fmt.Sprintf("slow %s by %d", x.Node.Text, x.Factor.Value) }
func (x *Slow) resolve(l *load, at string) { l.resolve(&x.Node, at+".node", RefNode) }

func (x *Slow) play(p *player) {
	_, p.err = x.disrupt(p.lab)
	p.result.Outcome = fmt.Sprintf("everything takes the CPU of %s %d times as long", x.Node.Text, x.Factor.Value)
}

// disrupt implements Disruption.
func (x *Slow) disrupt(lab *emu.Lab) (undo func() error, err error) {
	n := lab.Node(x.Node.Name)
	if n == nil {
		return nil, errGone(x.Node)
	}
	return func() error { return n.SetSlow(1) }, n.SetSlow(float64(x.Factor.Value))
}
