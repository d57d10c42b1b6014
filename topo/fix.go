package topo

import (
	"slices"
	"strings"
)

// fixable are the rules whose Fix replaces exactly the line they point at.
var fixable = []string{"slash-comment", "misplaced-field", "tab-indentation"}

// fixName stands for the input in the findings that Fix returns.
const fixName = "input"

// Fix returns data with the mistakes corrected that have one safe correction,
// and the findings that were acted on: comments written // become # comments,
// fields one level too high are indented, tabs in indentation become blanks. A
// document flattened into one line is replaced by the manifest rebuilt from it.
// If nothing is to be done, fixed is data.
func Fix(data []byte) (fixed []byte, applied Diagnostics) {
	text := string(data)
	// One correction can uncover the next: a line may be both commented and
	// misplaced. Each round removes at least one mistake.
	for range 4 {
		_, found := Parse(fixName, []byte(text))
		next, done := applyFixes(text, found)
		if len(done) == 0 {
			break
		}
		text, applied = next, append(applied, done...)
	}
	if len(applied) == 0 {
		return data, nil
	}
	return []byte(text), applied
}

// applyFixes replaces lines of text. A line is touched once in a round, and a
// round does one rule only, so that no fix is computed from a stale line.
func applyFixes(text string, found Diagnostics) (string, Diagnostics) {
	for _, rule := range append(slices.Clone(fixable), "flattened-manifest") {
		bom := strings.HasPrefix(text, "\ufeff")
		lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
		var done Diagnostics
		for _, d := range found {
			if d.File != fixName || d.Rule != rule || d.Fix == "" || d.Line < 1 || d.Line > len(lines) {
				continue
			}
			end := ""
			if strings.HasSuffix(lines[d.Line-1], "\r") {
				end = "\r"
			}
			replaced := strings.TrimRight(d.Fix, "\r\n") + end
			if lines[d.Line-1] != replaced {
				lines[d.Line-1] = replaced
				done = append(done, d)
			}
		}
		if len(done) > 0 {
			out := strings.Join(lines, "\n")
			if bom {
				out = "\ufeff" + out
			}
			return out, done
		}
	}
	return text, nil
}
