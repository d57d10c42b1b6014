package topo

import (
	"fmt"
	"strings"
)

// nearest returns the word of known closest to word by edit distance, or ""
// when none is close enough to be a likely typing mistake. Equal distances go to
// the earlier word, so the answer does not depend on map order.
func nearest(word string, known []string) string {
	const longest = 64 // no known word is longer; bounds the quadratic cost
	if word == "" || len(word) > longest {
		return ""
	}
	best, bestDist := "", 1+max(1, len(word)/3)
	lower := strings.ToLower(word)
	for _, k := range known {
		if d := editDistance(lower, strings.ToLower(k)); d < bestDist {
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

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	prev2 := make([]int, len(rb)+1)
	prev := make([]int, len(rb)+1)
	cur := make([]int, len(rb)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(ra); i++ {
		cur[0] = i
		for j := 1; j <= len(rb); j++ {
			cost := 1
			if ra[i-1] == rb[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && ra[i-1] == rb[j-2] && ra[i-2] == rb[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(rb)]
}
