package topo

import (
	"fmt"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// didYouMean is the hint for an unknown word: the nearest known one, else the
// whole list if that is short enough to read.
func didYouMean(word, what string, known []string) string {
	if near := typo.Nearest(word, known); near != "" {
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
