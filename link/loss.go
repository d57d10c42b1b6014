package link

import (
	"errors"
	"fmt"
	"math/rand/v2"
)

// GilbertElliott is loss that comes in bursts: a cable is in a good or a bad
// state, and goes from one to the other by chance with every frame (E. N.
// Gilbert 1960, E. O. Elliott 1963; tc-netem's "loss gemodel p r 1-h 1-k"). The
// zero value loses nothing. With Bad at its default and Good 0, bursts have a
// mean length of 1/Leave frames, and a share Enter/(Enter+Leave) is lost.
type GilbertElliott struct {
	Enter float64 // probability per frame of going from good to bad: p
	Leave float64 // probability per frame of going back: r
	Bad   float64 // probability of losing a frame while bad: 1-h; 0 means 1
	Good  float64 // probability of losing a frame while good: 1-k
}

func (g GilbertElliott) validate() error {
	err := errors.Join(checkShare("loss burst enter", g.Enter), checkShare("loss burst leave", g.Leave),
		checkShare("loss burst bad", g.Bad), checkShare("loss burst good", g.Good))
	if err == nil && g.Enter > 0 && g.Leave == 0 {
		return errors.New("link: wire: loss burst is entered and never left, want a leave above 0")
	}
	return err
}

// lose draws the fate of one frame, then the state for the next, as netem does.
func (g GilbertElliott) lose(bad *bool, rng *rand.Rand) bool {
	p, leave := g.Good, g.Enter
	if *bad {
		if p, leave = g.Bad, g.Leave; p == 0 {
			p = 1
		}
	}
	if rng.Float64() < leave {
		*bad = !*bad
	}
	return p > 0 && rng.Float64() < p
}

// A LossTrace is a recorded sequence of losses, one entry per frame, true for
// a frame that was lost. It is played over and over, by each direction from
// its beginning. It must not change once a cable has it.
type LossTrace struct{ Lost []bool }

func (t *LossTrace) validate() error {
	if t != nil && len(t.Lost) == 0 {
		return errors.New("link: wire: loss trace is empty, want one entry or more")
	}
	return nil
}

// ParseLossTrace reads a trace of digits, 1 for a frame that was lost and 0
// for one that arrived. White space and lines that begin with # are skipped.
func ParseLossTrace(text string) (*LossTrace, error) {
	t := &LossTrace{}
	err := eachTraceWord(text, func(line int, word string) error {
		for i := range len(word) {
			if word[i] != '0' && word[i] != '1' {
				return fmt.Errorf("link: loss trace: line %d: %.20q, want digits 0 (arrived) and 1 (lost)", line, word)
			}
			t.Lost = append(t.Lost, word[i] == '1')
		}
		return nil
	})
	return t, errors.Join(err, t.validate())
}
