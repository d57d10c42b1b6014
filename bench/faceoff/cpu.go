package faceoff

import (
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// A reading is what the CPUs of the nodes on the way have done until a moment,
// with the CPU model.
type reading struct {
	at    time.Duration
	cores [][]link.CPUStats // of the sender's node, then of the receiver's
}

// readCPU reads the CPUs of some nodes.
func (f *field) readCPU(at time.Duration, nodes ...*emu.Node) reading {
	r := reading{at: at}
	for _, n := range nodes {
		r.cores = append(r.cores, n.CPU())
	}
	return r
}

// since returns how many cores of the busier node were busy on average since an
// earlier reading, and how much of that time the busiest core of all was, with
// its node. The sums are 0 without the CPU model.
//
// The busier node counts because it is the one that ends the stream's growth: the
// other has time to spare, and a mean of both would credit the pair with cores
// that cannot help.
func (r reading) since(before reading) (cores, busiest float64, at int) {
	took := float64(r.at - before.at)
	if took <= 0 {
		return 0, 0, 0
	}
	for i, node := range r.cores {
		sum := 0.0
		for j, core := range node {
			share := float64(core.Busy-before.cores[i][j].Busy) / took
			sum += share
			if share > busiest {
				busiest, at = share, i
			}
		}
		cores = max(cores, sum)
	}
	return cores, busiest, at
}

// saturated is how busy a core is that has no time to spare. The samples of a
// stream end in the middle of packets.
const saturated = 0.99

// perCore sets goodput per core, and names the node of the core that is the
// stream's limit; empty if none is.
func (b *bout) perCore(f *field, s *stream) (limit string) {
	if b.fit.cpu == "" {
		return "" // there is nothing to say: the measure is left out
	}
	before, after, ok := s.readings()
	if !ok {
		b.skip("the stream ended too early", "goodput-core")
		return ""
	}
	cores, busiest, at := after.since(before)
	if cores == 0 {
		b.skip("the calibration makes this way free", "goodput-core")
		return ""
	}
	b.set("goodput-core", s.goodput()/cores)
	if busiest < saturated {
		return ""
	}
	from, to := f.nodes()
	return []*emu.Node{from, to}[at].Name()
}
