package netfilter

import (
	"slices"
	"testing"
)

func TestEqualMatchesAreOne(t *testing.T) {
	r := mustRestore(t, `*filter
-A INPUT -p tcp -m comment --comment "a b" -m tcp --dport 80 -j ACCEPT
-A INPUT -p tcp -m comment --comment "c d" -m tcp --dport 81 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -m comment --comment "a b" -j DROP
COMMIT
`)
	rules, _ := r.Rules(Filter, "INPUT")
	first, second, third := rules[0].matches, rules[1].matches, rules[2].matches
	if first[0].matcher != third[1].matcher || first[1].matcher != third[0].matcher {
		t.Error("equal matches of two rules are two in memory")
	}
	if got := []string{rules[0].Comment(), rules[1].Comment(), rules[2].Comment()}; !slices.Equal(got, []string{"a b", "c d", "a b"}) {
		t.Errorf("comments are %q", got)
	}
	if second[1].matcher == first[1].matcher || second[1].matcher.(*portMatch).dport == first[1].matcher.(*portMatch).dport {
		t.Error("matches of different ports are one")
	}
}

// More matches than a stock looks back for are still what they say.
func TestManyDifferentMatches(t *testing.T) {
	text := "*filter\n"
	for range 2 {
		for c := 'a'; c <= 'z'; c++ {
			text += "-A INPUT -m comment --comment " + string(c) + " -j ACCEPT\n"
		}
	}
	rules, _ := mustRestore(t, text+"COMMIT\n").Rules(Filter, "INPUT")
	for i, rule := range rules {
		if want := string(rune('a' + i%26)); rule.Comment() != want {
			t.Errorf("rule %d has comment %q, want %q", i, rule.Comment(), want)
		}
	}
}

// Rules that share a match count for themselves.
func TestEqualMatchesRememberApart(t *testing.T) {
	r := mustRestore(t, `*filter
-A FORWARD -m statistic --mode nth --every 2 --packet 1 -j DROP
-A FORWARD -m statistic --mode nth --every 2 --packet 1 -j DROP
COMMIT
`)
	if got := hits(r, newEnv(), 8, 0); !slices.Equal(got, []int{1, 2, 3, 5, 6, 7}) {
		t.Errorf("dropped %v", got)
	}
}
