// Package search looks for schedules of faults under which a scenario breaks, and
// shrinks one to the smallest that still breaks it.
//
//	s := search.New(try, runtime.GOMAXPROCS(0))
//	found, err := s.Find(ctx, 200, sc.Elements)
//	...
//	smallest, err := s.Shrink(ctx, found)
//
// A schedule is a list of elements of faults, each in one line of YAML, as
// topo.Verdict.Drawn has them. How one is tried is the caller's: several are
// tried at a time, and what is found does not depend on how many.
package search

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// An Outcome is what came of trying a schedule.
type Outcome struct {
	// Broken names what was violated, such as "step 2 recovers"; if it is empty, all
	// held. The names tell one violation from another, and are equal in all runs.
	Broken []string
	Detail string // the first of them, for people

	// Invalid says that the schedule could not be carried out as it stands, which
	// is no finding.
	Invalid bool
}

// A Try plays the scenario with a schedule. An error ends the search: it is not
// about the schedule.
type Try func(ctx context.Context, faults []string) (Outcome, error)

// A Search tries schedules, each at most once. It is for one goroutine.
type Search struct {
	// OnRun, if not nil, is called before runs begin, with how many there were.
	OnRun func(done int)

	try      Try
	parallel int
	known    map[string]Outcome
	runs     int
}

// New returns a search that tries as many schedules at a time as parallel says.
func New(try Try, parallel int) *Search {
	return &Search{try: try, parallel: max(1, parallel), known: make(map[string]Outcome)}
}

// Runs returns how many schedules were tried so far.
func (s *Search) Runs() int { return s.runs }

// A Finding is a schedule that breaks the scenario.
type Finding struct {
	Index   int // among those that were looked at, from 0
	Faults  []string
	Outcome Outcome
}

// Find looks for the first of n schedules that breaks the scenario, and returns
// nil if none does. It ends early, with what it has found, when ctx ends.
func (s *Search) Find(ctx context.Context, n int, draw func(i uint64) []string) (*Finding, error) {
	for from := 0; from < n && ctx.Err() == nil; from += s.parallel {
		var list [][]string
		for i := from; i < min(n, from+s.parallel); i++ {
			list = append(list, draw(uint64(i)))
		}
		outcomes, err := s.all(ctx, list)
		if err != nil {
			return nil, err
		}
		for i, o := range outcomes {
			if len(o.Broken) > 0 && !o.Invalid {
				return &Finding{Index: from + i, Faults: list[i], Outcome: o}, nil
			}
		}
	}
	return nil, nil
}

// first returns the index of the first candidate that violates broken, or -1.
func (s *Search) first(ctx context.Context, candidates [][]string, broken string) (int, error) {
	for from := 0; from < len(candidates); from += s.parallel {
		outcomes, err := s.all(ctx, candidates[from:min(len(candidates), from+s.parallel)])
		if err != nil {
			return -1, err
		}
		for i, o := range outcomes {
			if !o.Invalid && slices.Contains(o.Broken, broken) {
				return from + i, nil
			}
		}
	}
	return -1, nil
}

// all tries schedules beside each other.
func (s *Search) all(ctx context.Context, list [][]string) ([]Outcome, error) {
	outcomes, errs := make([]Outcome, len(list)), make([]error, len(list))
	var wg sync.WaitGroup
	if s.OnRun != nil {
		s.OnRun(s.runs)
	}
	for i, faults := range list {
		if o, ok := s.known[strings.Join(faults, "\n")]; ok {
			outcomes[i] = o
			continue
		}
		s.runs++
		wg.Go(func() { outcomes[i], errs[i] = s.try(ctx, faults) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, err
		}
		s.known[strings.Join(list[i], "\n")] = outcomes[i]
	}
	return outcomes, nil
}
