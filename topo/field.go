package topo

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podwire/podwire/internal/typo"
	yaml "go.yaml.in/yaml/v3"
)

// Field is a value of the model and the place where it was written. A Field
// whose Pos is not valid was not written: Value is then the default.
type Field[T any] struct {
	Value T
	Pos   Pos
}

// IsSet reports whether the value was written in a file.
func (f Field[T]) IsSet() bool { return f.Pos.IsValid() }

func (d *document) pos(n *yaml.Node) Pos {
	return Pos{File: d.src.name, Line: n.Line, Column: max(n.Column, 1)}
}

// reportAt records a finding at a node.
func (l *load) reportAt(d *document, n *yaml.Node, diag Diagnostic) {
	l.report(d, n.Line, n.Column, diag)
}

// mapping is a YAML mapping being decoded; what names it in messages.
type mapping struct {
	l    *load
	d    *document
	node *yaml.Node
	what string
}

// mapping checks that n is a mapping whose keys are all among known.
func (l *load) mapping(d *document, n *yaml.Node, what string, known ...string) (mapping, bool) {
	m := mapping{l, d, n, what}
	if n.Kind != yaml.MappingNode {
		l.wrongType(d, n, what, "a mapping ("+strings.Join(known, ", ")+")")
		return m, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode && !slices.Contains(known, k.Value) {
			l.reportAt(d, k, Diagnostic{
				Rule:    "unknown-key",
				Message: fmt.Sprintf("unknown key %s in %s", quoted(k.Value), what),
				Hint:    didYouMean(k.Value, "known keys", known),
			})
		}
	}
	return m, true
}

// get returns the value under key, or nil if it is absent or null.
func (m mapping) get(key string) *yaml.Node {
	n := mapValue(m.node, key)
	if n == nil || isNull(n) {
		return nil
	}
	return n
}

// path names the value under key in messages.
func (m mapping) path(key string) string {
	if m.what == scenarioName {
		return key
	}
	return m.what + "." + key
}

func (l *load) wrongType(d *document, n *yaml.Node, path, want string) {
	l.reportAt(d, n, Diagnostic{Rule: "wrong-type", Message: fmt.Sprintf("%s: found a %s, want %s", path, kindName(n), want)})
}

// scalar returns the text under key. Its want completes "found a list, want".
func (m mapping) scalar(key, want string) (text string, n *yaml.Node, ok bool) {
	if n = m.get(key); n == nil {
		return "", nil, false
	}
	text, ok = m.l.scalar(m.d, n, m.path(key), want)
	return text, n, ok
}

func (l *load) scalar(d *document, n *yaml.Node, path, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		l.wrongType(d, n, path, want)
		return "", false
	}
	if c := d.slashAt(n); c != nil && !c.used {
		l.reportSlash(d, c, n, path, Error, "")
	}
	return n.Value, true
}

// decode is the one way a scalar becomes a Field: read the text under key, parse
// it, and say what was wanted if it does not parse.
func decode[T any](m mapping, key, want string, parse func(string) (T, error)) (f Field[T]) {
	text, n, ok := m.scalar(key, want)
	if !ok {
		return f
	}
	return decodeText(m.l, m.d, n, m.path(key), text, want, parse)
}

func decodeText[T any](l *load, d *document, n *yaml.Node, path, text, want string, parse func(string) (T, error)) (f Field[T]) {
	v, err := parse(text)
	if err != nil {
		diag := Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("%s: found %s, want %s", path, quoted(text), want)}
		if h, ok := err.(hint); ok {
			diag.Hint = string(h)
		}
		l.reportAt(d, n, diag)
		return f
	}
	return Field[T]{v, d.pos(n)}
}

// hint is a parse error that knows what was meant.
type hint string

func (h hint) Error() string { return string(h) }

func (m mapping) str(key string) Field[string] {
	return decode(m, key, "text", func(s string) (string, error) { return s, nil })
}

func (m mapping) duration(key string) Field[time.Duration] {
	return decode(m, key, wantDuration, ParseDuration)
}

func (m mapping) percent(key string) Field[float64] {
	return decode(m, key, wantPercent, ParsePercent)
}

func (m mapping) integer(key string, low, high int64) Field[int] {
	f := decode(m, key, fmt.Sprintf("a whole number from %d to %d", low, high), func(s string) (int, error) {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil || v < low || v > high || v > math.MaxInt {
			return 0, strconv.ErrRange
		}
		return int(v), nil
	})
	return f
}

func (m mapping) boolean(key string) Field[bool] {
	return decode(m, key, "true or false", func(s string) (bool, error) {
		switch s {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, strconv.ErrSyntax
	})
}

func (m mapping) addr(key string) Field[netip.Addr] {
	return decode(m, key, "an IP address such as 192.168.56.11", netip.ParseAddr)
}

func (m mapping) prefix(key string) Field[netip.Prefix] {
	return decode(m, key, "a range such as 10.244.0.0/16", func(s string) (netip.Prefix, error) {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
			return p, err
		case p != p.Masked():
			return p, hint(fmt.Sprintf("bits are set behind the /%d; the range is %s", p.Bits(), p.Masked()))
		}
		return p, nil
	})
}

// word decodes one of a fixed set of words.
func (m mapping) word(key string, known []string) (f Field[string]) {
	if n := m.get(key); n != nil {
		f = m.l.wordAt(m.d, n, m.path(key), known)
	}
	return f
}

// wordAt decodes one of a fixed set of words, wherever it stands.
func (l *load) wordAt(d *document, n *yaml.Node, path string, known []string) (f Field[string]) {
	want := "one of " + strings.Join(known, ", ")
	text, ok := l.scalar(d, n, path, want)
	if !ok {
		return f
	}
	return decodeText(l, d, n, path, text, want, func(s string) (string, error) {
		if slices.Contains(known, s) {
			return s, nil
		}
		if near := typo.Nearest(s, known); near != "" {
			return "", hint(fmt.Sprintf("did you mean %q?", near))
		}
		return "", strconv.ErrSyntax
	})
}

// list calls each for every element of the list under key.
func (m mapping) list(key, want string, each func(path string, n *yaml.Node)) {
	n := m.get(key)
	if n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		m.l.wrongType(m.d, n, m.path(key), want)
		return
	}
	for i, e := range n.Content {
		each(fmt.Sprintf("%s[%d]", m.path(key), i), e)
	}
}
