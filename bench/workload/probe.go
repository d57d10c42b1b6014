package workload

import (
	"net/netip"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/stack"
)

// A Probe finds out when an address can be reached: echo requests from one socket
// until the first answer, of whichever of them.
type Probe struct {
	From  *emu.Machine
	To    netip.Addr
	Limit time.Duration // how long it tries

	// Interval is how long after a request the next one is sent, given how long the
	// probe has tried. It is called before each wait.
	Interval func(passed time.Duration) time.Duration
}

// Never is the time of what did not happen while it was waited for.
const Never time.Duration = -1

// A Finding is what a probe has heard: times on the lab's clock, or [Never].
type Finding struct {
	Answered time.Duration
	Told     time.Duration // that it is out of reach, by the first ICMP error
}

// Run tries until there is an answer or the time is up.
func (p *Probe) Run(lab *emu.Lab) (Finding, error) {
	found := Finding{Never, Never}
	c, err := p.From.OpenPing(stack.PingConfig{})
	if err != nil {
		return found, err
	}
	defer c.Close()
	start := lab.Now()
	for seq := uint16(1); lab.Now() < start+p.Limit; seq++ {
		c.Send(p.To, seq) // what cannot be sent now is not answered
		next := min(lab.Now()+p.Interval(lab.Now()-start), start+p.Limit)
		for left := next - lab.Now(); left > 0; left = next - lab.Now() {
			r, err := c.Receive(left)
			switch {
			case err != nil: // nothing in this turn
			case r.Err() == nil:
				found.Answered = lab.Now()
				return found, nil
			case found.Told == Never:
				found.Told = lab.Now()
			}
		}
	}
	return found, nil
}
