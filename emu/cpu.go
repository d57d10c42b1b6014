package emu

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// CPUConfig switches on the model of the nodes' CPUs: packets wait for the CPU of
// the node that they pass, and what they cost there is what the calibration says.
// A node and its pods share a CPU. Machines outside and routers are never busy.
// See [stack.CPU] for what waits where.
type CPUConfig struct {
	// Cores of each node that serve packets; 0 means 1. A flow stays on one core.
	Cores int

	// Backlog is net.core.netdev_max_backlog: how many packets may wait for a core.
	// 0 means 1,000, as on Linux. What finds more waiting is dropped and counted.
	Backlog int

	// Calibration says what the stages cost. The zero value is
	// [DefaultCalibration].
	Calibration Calibration
}

// A Calibration says what each stage of a packet's way costs.
type Calibration struct {
	Name  string
	Costs stack.Costs
}

//go:embed calibration.yaml
var defaultCalibration []byte

// DefaultCalibration is that of calibration.yaml in this package, which says where
// its figures are from.
func DefaultCalibration() Calibration {
	c, err := ReadCalibration(bytes.NewReader(defaultCalibration))
	if err != nil {
		panic(err) // a test reads it
	}
	return c
}

// ReadCalibration reads a calibration file: a name, and for each stage what a
// packet and each of its bytes cost, in ns or us. A stage that is left out is
// free.
func ReadCalibration(r io.Reader) (c Calibration, err error) {
	var file struct {
		Name   string
		Stages map[string]struct{ Packet, Byte, Source string }
	}
	dec := yaml.NewDecoder(r)
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return c, fmt.Errorf("emu: calibration: %w", err)
	}
	if file.Name == "" || len(file.Stages) == 0 {
		return c, errors.New("emu: calibration: want a name and stages")
	}
	c.Name = file.Name
	works := stack.Works()
	for name, s := range file.Stages {
		at := slices.IndexFunc(works, func(w stack.Work) bool { return w.String() == name })
		if at < 0 {
			return c, fmt.Errorf("emu: calibration: stage %q, want one of %v", name, works)
		}
		cost := &c.Costs[works[at]]
		for _, f := range []struct {
			text string
			to   *int64
		}{{s.Packet, &cost.Packet}, {s.Byte, &cost.Byte}} {
			if *f.to, err = picoseconds(f.text); err != nil {
				return c, fmt.Errorf("emu: calibration: stage %s: %w", name, err)
			}
		}
	}
	return c, nil
}

// picoseconds reads a time such as 0.45ns. Empty is 0.
func picoseconds(s string) (int64, error) {
	if s == "" || s == "0" {
		return 0, nil
	}
	for unit, ps := range map[string]float64{"ns": 1e3, "us": 1e6, "µs": 1e6} {
		number, ok := strings.CutSuffix(s, unit)
		if v, err := strconv.ParseFloat(number, 64); ok && err == nil && v >= 0 && v*ps < 1e15 {
			return int64(math.Round(v * ps)), nil
		}
	}
	return 0, fmt.Errorf("time %q, want a number of ns or us up to a millisecond's thousand, such as 0.45ns", s)
}

func (c *CPUConfig) validate() error {
	switch {
	case c == nil:
		return nil
	case c.Cores < 0 || c.Cores > 1024:
		return fmt.Errorf("emu: cpu: %d cores, want 1 to 1024, or 0 for one", c.Cores)
	case c.Backlog < 0:
		return fmt.Errorf("emu: cpu: backlog of %d packets, want 1 or more, or 0 for %d", c.Backlog, link.DefaultBacklog)
	}
	return nil
}

// newCPU returns the CPU of a node, nil if there is no model. The caller holds the
// lock.
func (l *Lab) newCPU() *stack.CPU {
	c := l.cfg.CPU
	if c == nil {
		return nil
	}
	costs := c.Calibration.Costs
	if costs == (stack.Costs{}) {
		costs = DefaultCalibration().Costs
	}
	return &stack.CPU{CPU: l.drv.NewCPU(link.CPUConfig{Cores: c.Cores, Backlog: c.Backlog}), Costs: costs}
}

// CPU returns what each core of the node has done, nil without a CPU model.
func (n *Node) CPU() (stats []link.CPUStats) {
	n.lab.drv.Do(func() {
		if n.cpu != nil {
			stats = n.cpu.Stats()
		}
	})
	return stats
}

// SetSlow makes everything that the node's CPU does take so many times as long,
// as a node does that is short of CPU; 1 is as calibrated. It is an error without
// a CPU model.
func (n *Node) SetSlow(factor float64) error {
	if !(factor >= 0.01 && factor <= 1e6) {
		return fmt.Errorf("emu: node %s: slow by %v, want 0.01 to 1e6", n.name, factor)
	}
	err := error(nil)
	n.lab.drv.Do(func() {
		if n.cpu == nil {
			err = fmt.Errorf("emu: node %s cannot be slow: the lab has no CPU model, see Config.CPU", n.name)
			return
		}
		n.cpu.SetSlow(factor)
	})
	return err
}

// CPUModel describes the CPU model for reports, "" if there is none.
func (l *Lab) CPUModel() string {
	c := l.cfg.CPU
	if c == nil {
		return ""
	}
	name := c.Calibration.Name
	if c.Calibration.Costs == (stack.Costs{}) {
		name = DefaultCalibration().Name
	}
	cores := "1 core"
	if c.Cores > 1 {
		cores = fmt.Sprintf("%d cores", c.Cores)
	}
	return fmt.Sprintf("%s per node, calibration %s", cores, name)
}
