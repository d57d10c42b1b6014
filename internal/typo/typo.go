// Package typo measures how far a word is from what was meant.
//
//	typo.Distance("desing", "design") // 1: two neighbours are swapped
package typo

import "strings"

// Longest is the length in bytes beyond which words are not compared: no known
// word is as long, and the cost grows with the product of the lengths.
const Longest = 64

// Distance counts the insertions, deletions, substitutions and swaps of
// neighbouring characters that turn a into b (optimal string alignment). It is
// Longest if one of them is longer than that.
func Distance(a, b string) int {
	if len(a) > Longest || len(b) > Longest {
		return Longest
	}
	ra, rb := []rune(a), []rune(b)
	var prev2, prev, cur [Longest + 1]int
	for j := range len(rb) + 1 {
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
		prev2, prev = prev, cur
	}
	return prev[len(rb)]
}

// Nearest returns the word of known that is closest to word, or "" when none is
// close enough to be a likely typing mistake. Case does not count, and of equals
// the first wins.
func Nearest(word string, known []string) string {
	if word == "" || len(word) > Longest {
		return ""
	}
	best, distance := "", 1+max(1, len(word)/3)
	lower := strings.ToLower(word)
	for _, k := range known {
		if d := Distance(lower, strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}
