package topo

import (
	"fmt"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// nearest returns the word of known closest to word by edit distance, or ""
// when none is close enough to be a likely typing mistake. Equal distances go to
// the earlier word, so the answer does not depend on map order.
func nearest(word string, known []string) string {
	if word == "" || len(word) > typo.Longest {
		return ""
	}
	best, bestDist := "", 1+max(1, len(word)/3)
	lower := strings.ToLower(word)
	for _, k := range known {
		if d := typo.Distance(lower, strings.ToLower(k)); d < bestDist {
			best, bestDist = k, d
		}
	}
	return best
}

// didYouMean is the hint for an unknown word: the nearest known one, else the
// whole list if that is short enough to read.
func didYouMean(word, what string, known []string) string {
	if near := nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	const readable = 24
	if len(known) == 0 {
		return ""
	}
	if len(known) > readable {
		return fmt.Sprintf("%s: %s, ... (%d in all)", what, strings.Join(known[:readable], ", "), len(known))
	}
	return what + ": " + strings.Join(known, ", ")
}
