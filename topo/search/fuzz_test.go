package search

import "testing"

// FuzzParse: whatever is read as an element is written so that it is read again,
// and what it is changed into as well.
func FuzzParse(f *testing.F) {
	for _, list := range schedules {
		for _, text := range list {
			f.Add(text)
		}
	}
	f.Add("- {at: 9223372036854775807ns, for: 9223372036854775807ns, partition: [[a, b], [c, d]]}")
	f.Add("- {with: a + b + 1ms, down: {node: x}, for: -1s}")
	f.Add("- {after: +, crash: {node: [x]}, partition: {a: b}, for: []}")
	f.Add("- {at: &a 1s, for: *a}")
	f.Fuzz(func(t *testing.T, text string) {
		x, err := parse(text)
		if err != nil {
			return
		}
		list := []fault{x, x}
		candidates := append(fewer(list), simpler(list)...)
		candidates = append(append(candidates, shorter(list)...), rounder(list)...)
		for _, c := range append(distinct(candidates), list) {
			for _, y := range c {
				again, err := parse(y.String())
				if err != nil || again.String() != y.String() {
					t.Errorf("%q became %q, which is read as %q, %v", text, y, again, err)
				}
			}
		}
	})
}
