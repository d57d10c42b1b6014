package search

import (
	"context"
	"slices"
	"strings"
)

// maxShrinkRuns bounds what Shrink tries.
const maxShrinkRuns = 2000

// Shrink makes a schedule smaller as long as it violates the first thing that it
// was found to violate: it drops faults (delta debugging: halves, quarters, single
// ones), replaces faults by simpler ones, shortens them, and rounds their times.
// In the result no fault can be left out.
func (s *Search) Shrink(ctx context.Context, f *Finding) (*Finding, error) {
	broken := f.Outcome.Broken[0]
	faults := make([]fault, 0, len(f.Faults))
	for _, text := range f.Faults {
		p, err := parse(text)
		if err != nil {
			return nil, err
		}
		faults = append(faults, p)
	}
	end := s.runs + maxShrinkRuns
	for changed := true; changed; {
		changed = false
		for _, smaller := range []func([]fault) [][]fault{fewer, simpler, shorter, rounder} {
			for s.runs < end && ctx.Err() == nil {
				candidates := distinct(smaller(faults))
				i, err := s.first(ctx, texts(candidates), broken)
				if err != nil {
					return nil, err
				}
				if i < 0 {
					break
				}
				faults, changed = candidates[i], true
			}
		}
	}
	small := &Finding{Index: f.Index, Faults: text(faults)}
	outcomes, err := s.all(ctx, [][]string{small.Faults})
	if err != nil {
		return nil, err
	}
	small.Outcome = outcomes[0]
	return small, nil
}

// fewer leaves out halves, then quarters, and so on to single faults.
func fewer(list []fault) (candidates [][]fault) {
	for size := (len(list) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(list); from += size {
			candidates = append(candidates, slices.Concat(list[:from], list[min(len(list), from+size):]))
		}
	}
	return candidates
}

// each makes candidates that differ in one fault.
func each(list []fault, change func(fault) []fault) (candidates [][]fault) {
	for i, f := range list {
		for _, c := range change(f) {
			candidates = append(candidates, slices.Concat(list[:i], []fault{c}, list[i+1:]))
		}
	}
	return candidates
}

func simpler(list []fault) [][]fault { return each(list, fault.simpler) }
func shorter(list []fault) [][]fault { return each(list, fault.shorter) }

// rounder begins with all of them together: often they must stay near each other.
func rounder(list []fault) (candidates [][]fault) {
	if all, ok := atOnce(list); ok {
		candidates = append(candidates, all)
	}
	for _, u := range units {
		together, changed := slices.Clone(list), false
		for i := range together {
			if r, ok := together[i].begins(u); ok {
				together[i], changed = r, true
			}
		}
		if changed {
			candidates = append(candidates, together)
		}
	}
	return append(candidates, each(list, fault.rounder)...)
}

// atOnce lets all begin with the first; false if they do already, or cannot.
func atOnce(list []fault) (all []fault, changed bool) {
	if len(list) == 0 {
		return nil, false
	}
	key, base, d, ok := list[0].beginning()
	for _, f := range list {
		k, b, other, known := f.beginning()
		if !ok || !known || k != key || b != base {
			return nil, false
		}
		changed = changed || other != d
		all = append(all, f.with(key, key, list[0].get(key)))
	}
	return all, changed
}

func text(list []fault) (lines []string) {
	for _, f := range list {
		lines = append(lines, f.String())
	}
	return lines
}

func texts(candidates [][]fault) (list [][]string) {
	for _, c := range candidates {
		list = append(list, text(c))
	}
	return list
}

// distinct leaves out candidates that were there before.
func distinct(candidates [][]fault) (list [][]fault) {
	seen := make(map[string]bool)
	for _, c := range candidates {
		if key := strings.Join(text(c), "\n"); !seen[key] {
			seen[key] = true
			list = append(list, c)
		}
	}
	return list
}
