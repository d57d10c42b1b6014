package faceoff

import (
	"fmt"
	"strings"

	"github.com/podwire/podwire/emu"
)

// state is what a node remembers.
type state struct{ routes, neighbours, fdb, rules, conntrack int }

// sum is what grows with the cluster; conntrack grows with traffic.
func (s state) sum() int { return s.routes + s.neighbours + s.fdb + s.rules }

// stateOf counts the entries of a node's tables.
func (f *field) stateOf(n *emu.Node) (s state) {
	f.Driver().Do(func() {
		h := n.Stack()
		s.routes, s.neighbours, s.conntrack = len(h.Routes()), len(h.Neighbours()), h.Conntrack().Len()
		for line := range strings.Lines(h.Netfilter().Save()) {
			if strings.HasPrefix(line, "-A ") {
				s.rules++
			}
		}
		for _, d := range h.Devices() {
			s.fdb += len(d.FDB())
			if br := d.Bridge(); br != nil && d.Master() == nil {
				s.fdb += len(br.FDB())
			}
		}
	})
	return s
}

// tables counts what the fullest node has.
func (b *bout) tables(f *field) {
	var most state
	for _, n := range f.Nodes() {
		s := f.stateOf(n)
		most = state{max(most.routes, s.routes), max(most.neighbours, s.neighbours), max(most.fdb, s.fdb), max(most.rules, s.rules), max(most.conntrack, s.conntrack)}
	}
	for id, n := range map[string]int{"routes": most.routes, "neighbours": most.neighbours, "fdb": most.fdb, "rules": most.rules, "conntrack": most.conntrack} {
		b.set(id, float64(n))
	}
}

// growth adds nodes and pods, and looks how much more the sender's node has to
// remember.
func (b *bout) growth() error {
	const more = 4
	return b.enterKnown(0, func(f *field) error {
		from, to := f.nodes()
		last := f.stateOf(from).sum()
		grown := func(id string) {
			now := f.stateOf(from).sum()
			b.set(id, float64(now-last)/more)
			last = now
		}
		for range more {
			if _, err := f.AddNode(emu.NodeConfig{}); err != nil {
				return err
			}
		}
		f.settle(b)
		grown("growth-node")
		for _, step := range []struct {
			id   string
			node *emu.Node
		}{{"growth-pod", from}, {"growth-far-pod", to}} {
			if step.id == "growth-far-pod" && !f.across() {
				b.skip("both pods are on one node", step.id)
				continue
			}
			for i := range more {
				p, err := f.AddPod(emu.PodConfig{Name: fmt.Sprintf("%s-%d", step.id, i+1), Node: step.node.Name()})
				if err != nil {
					return err
				}
				if r, err := f.from.Ping(p.Name(), pingTimeout); err != nil || r.Err() != nil {
					return fmt.Errorf("ping to a new pod on %s: %v, %v", step.node.Name(), err, r.Err())
				}
			}
			grown(step.id)
		}
		return nil
	})
}

// settle waits as long as the design needs to converge.
func (f *field) settle(b *bout) {
	if b.fit.ready > 0 {
		f.Sleep(b.fit.ready)
	}
	f.ping() // Services' rules follow when something is sent
}
