package topo

import (
	"fmt"
	"slices"
	"strings"
)

var expectKeys = []string{"status", "body", "contains", "matches", "exit", "error", "within", "exactly", "sourceIP", "seenSource", "ttl", "loss", "translated"}

// decodeExpect reads what a step must find, and says so if its verb can never
// find it.
func (l *load) decodeExpect(step mapping, verb string, can []string) (e Expect) {
	n := step.get("expect")
	if n == nil {
		return e
	}
	m, ok := l.mapping(step.d, n, step.path("expect"), expectKeys...)
	if !ok {
		return e
	}
	e = Expect{
		Pos:      step.d.pos(n),
		Status:   m.integer("status", 100, 599),
		Body:     m.str("body"),
		Contains: m.str("contains"),
		Matches:  decode(m, "matches", "a regular expression", checkPattern),
		Exit:     m.integer("exit", 0, 255),
		Error:    m.word("error", StepErrors),
		Within:   m.duration("within"),
		Exactly:  m.duration("exactly"),
		SourceIP: m.ref("sourceIP"),
		TTL:      m.integer("ttl", 1, 255),
		Loss:     m.percent("loss"),
	}
	e.Translated, e.NoNAT = l.decodeTranslated(m)
	if m.get("seenSource") != nil {
		if e.SourceIP.IsSet() {
			l.reportAt(m.d, keyNode(n, "seenSource"), Diagnostic{Rule: "ambiguous", Message: m.what + ": sourceIP and seenSource are two names of one check, want one"})
		}
		e.SourceIP = m.ref("seenSource")
	}
	l.checkExpect(m, verb, can, e)
	return e
}

func (l *load) checkExpect(m mapping, verb string, can []string, e Expect) {
	for i := 0; i+1 < len(m.node.Content); i += 2 {
		k := m.node.Content[i]
		word := k.Value
		if word == "seenSource" {
			word = "sourceIP"
		}
		if !slices.Contains(expectKeys, word) || slices.Contains(can, word) {
			continue
		}
		want := "no expect at all"
		if len(can) > 0 {
			want = "one of " + strings.Join(can, ", ")
		}
		l.reportAt(m.d, k, Diagnostic{Rule: "useless-expect", Message: fmt.Sprintf("%s: a %s step has no %s to check, want %s", m.what, verb, k.Value, want)})
	}
	if e.Error.IsSet() && (e.Status.IsSet() || e.Body.IsSet() || e.Contains.IsSet()) {
		l.addAt(e.Error.Pos, Diagnostic{Rule: "useless-expect", Message: m.what + ": a step that ends in an error has no answer to check, want error or status, body, contains"})
	}
}
