package typo

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"design", "design", 0},
		{"desing", "design", 1}, // a swap
		{"desgn", "design", 1},  // an insertion
		{"designs", "design", 1},
		{"tcp", "udp", 2},
		{"ab", "ba", 1},
		{"a", "", 1},
		{"kitten", "sitting", 3},
		{"配置", "配", 1},
		{"ä", "a", 1}, // characters, not bytes
		{strings.Repeat("a", Longest+1), "a", Longest},
	} {
		for _, p := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			if got := Distance(p[0], p[1]); got != c.want {
				t.Errorf("Distance(%q, %q) = %d, want %d", p[0], p[1], got, c.want)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"design", "nodes", "podCIDR"}
	for _, c := range []struct{ in, want string }{
		{"desing", "design"}, {"DESIGN", "design"}, {"node", "nodes"}, {"podcidr", "podCIDR"}, {"x", ""}, {"", ""}, {"completely", ""},
	} {
		if got := Nearest(c.in, known); got != c.want {
			t.Errorf("Nearest(%q): got %q, want %q", c.in, got, c.want)
		}
	}
}
