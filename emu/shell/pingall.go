package shell

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/podwire/podwire/emu"
)

// Reach is one ping of a [PingAll].
type Reach struct {
	From, To string        // machines
	RTT      time.Duration // of an answer
	Err      error         // nil for an answer
}

// PingAll pings from every machine to every other, one after another, and waits
// for each answer at most as long as the timeout says.
func PingAll(lab *emu.Lab, timeout time.Duration, each func(Reach)) {
	machines := lab.Machines()
	for _, from := range machines {
		for _, to := range machines {
			if from == to {
				continue
			}
			r := Reach{From: from.Name(), To: to.Name()}
			reply, err := from.Ping(to.Addr().String(), timeout)
			if err == nil {
				err = reply.Err()
			}
			r.RTT, r.Err = reply.RTT, err
			each(r)
		}
	}
}

// pingAll prints a matrix as Mininet does: X is for no answer.
func (s *Session) pingAll(args []string) error {
	wait := time.Second
	if len(args) > 0 {
		f, err := strconv.ParseFloat(args[0], 64)
		if err != nil || !(f > 0 && f < 1e6) {
			return s.fail(2, "usage: pingall [SECONDS]")
		}
		wait = seconds(f)
	}
	fmt.Fprintln(s.out, "*** Ping: testing ping reachability")
	var row, from string
	sent, got := 0, 0
	PingAll(s.lab, wait, func(r Reach) {
		if r.From != from {
			if from != "" {
				fmt.Fprintln(s.out, row)
			}
			from, row = r.From, strings.TrimPrefix(r.From, "default/")+" ->"
		}
		sent++
		if r.Err != nil {
			row += " X"
			return
		}
		got++
		row += " " + strings.TrimPrefix(r.To, "default/")
	})
	if from != "" {
		fmt.Fprintln(s.out, row)
	}
	if sent == 0 {
		return s.fail(1, "pingall: found fewer than two machines")
	}
	fmt.Fprintf(s.out, "*** Results: %d%% dropped (%d/%d received)\n", (sent-got)*100/sent, got, sent)
	return nil
}
