package topo

import (
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// verbs are the words a step may be written with, and what reads each.
var verbs = []struct {
	word   string
	decode func(*load, mapping, *Step)
	expect []string // what expect can check after it
}{
	{"ping", (*load).decodePing, []string{"error", "within", "exactly", "ttl", "loss", "sourceIP"}},
	{"http", (*load).decodeHTTP, []string{"status", "body", "contains", "error", "within", "exactly", "sourceIP", "translated"}},
	{"tcp", (*load).decodeTCP, []string{"body", "contains", "error", "within", "exactly", "sourceIP", "translated"}},
	{"udp", (*load).decodeUDP, []string{"body", "contains", "error", "within", "exactly", "sourceIP", "translated"}},
	{"exec", (*load).decodeExec, []string{"exit", "body", "contains", "matches", "within", "exactly"}},
	{"lookup", (*load).decodeLookup, []string{"error", "within", "exactly"}},
	{"sleep", (*load).decodeSleep, nil},
	{"down", (*load).decodeDown, nil},
	{"up", (*load).decodeUp, nil},
	{"set", (*load).decodeSet, nil},
	{"flow", (*load).decodeFlow, nil},
	{"partition", (*load).decodePartition, nil},
	{"kill", (*load).decodeKill, nil},
	{"restart", (*load).decodeRestart, nil},
	{"move", (*load).decodeMove, nil},
	{"crash", (*load).decodeCrash, nil},
	{"conflict", (*load).decodeConflict, nil},
	{"mtu", (*load).decodeMTU, nil},
	{"slow", (*load).decodeSlow, nil},
}

// faultVerbs are those of them that may stand under faults: their Actions are
// Disruptions.
var faultVerbs = []string{"down", "up", "set", "partition", "kill", "restart", "move", "crash", "conflict", "mtu", "slow", "exec"}

func verbNames() []string {
	var names []string
	for _, v := range verbs {
		names = append(names, v.word)
	}
	return names
}

// decodeStep reads one element of steps.
func (l *load) decodeStep(d *document, path string, n *yaml.Node) {
	known := append(verbNames(), "name", "at", "expect")
	m, ok := l.mapping(d, n, path, known...)
	if !ok {
		return
	}
	s := Step{Pos: d.pos(n), Name: m.str("name"), At: m.duration("at")}
	chosen := -1
	for i, v := range verbs {
		if mapValue(n, v.word) == nil {
			continue
		}
		if chosen >= 0 {
			l.reportAt(d, keyNode(n, v.word), Diagnostic{
				Rule:    "two-verbs",
				Message: fmt.Sprintf("%s has two verbs, %s and %s, want one", path, verbs[chosen].word, v.word),
				Hint:    "begin another step with \"- \"",
			})
			continue
		}
		chosen = i
		v.decode(l, m, &s)
	}
	if chosen < 0 {
		l.reportAt(d, n, Diagnostic{Rule: "no-verb", Message: fmt.Sprintf("%s has no verb, want one of %s", path, strings.Join(verbNames(), ", "))})
		return
	}
	s.Expect = l.decodeExpect(m, verbs[chosen].word, verbs[chosen].expect)
	l.sc.Steps = append(l.sc.Steps, s)
}

// keyNode returns the key of a mapping, for its position.
func keyNode(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i]
		}
	}
	return m
}

// verb opens the mapping of a verb and insists on the keys it cannot do without.
func (l *load) verb(step mapping, word string, need []string, known ...string) (mapping, bool) {
	n := mapValue(step.node, word)
	m, ok := l.mapping(step.d, n, step.path(word), append(slices.Clone(need), known...)...)
	if !ok {
		return m, false
	}
	for _, key := range need {
		if m.get(key) == nil {
			l.reportAt(step.d, keyNode(step.node, word), Diagnostic{Rule: "missing-value", Message: fmt.Sprintf("%s: no %s, want one", m.what, key)})
		}
	}
	return m, true
}

// ref takes the text of a reference; resolveSteps finds what it stands for.
func (m mapping) ref(key string) Ref {
	f := m.str(key)
	return Ref{Pos: f.Pos, Text: f.Value}
}

func (l *load) decodePing(step mapping, s *Step) {
	s.Ping = &Ping{}
	m, ok := l.verb(step, "ping", []string{"from", "to"}, "count", "size", "interval", "df")
	if !ok {
		return
	}
	const maxPayload = 65535 - 20 - 8 // an IPv4 datagram less its headers
	*s.Ping = Ping{
		From: m.ref("from"), To: m.ref("to"),
		Count:    orDefault(m.integer("count", 1, 1_000_000), 1),
		Size:     orDefault(m.integer("size", 0, maxPayload), 56),
		Interval: orDefault(m.duration("interval"), time.Second),
		DF:       orDefault(m.boolean("df"), true),
	}
}

func orDefault[T any](f Field[T], v T) Field[T] {
	if !f.IsSet() {
		f.Value = v
	}
	return f
}

func (l *load) decodeHTTP(step mapping, s *Step) {
	s.HTTP = &HTTP{}
	m, ok := l.verb(step, "http", []string{"from", "url"}, "method", "header", "body")
	if !ok {
		return
	}
	h := s.HTTP
	*h = HTTP{From: m.ref("from"), Method: orDefault(m.str("method"), "GET"), Body: m.str("body")}
	if h.URL = m.url("url"); h.URL.IsSet() {
		h.Host = urlHost(h.URL)
	}
	for k, v := range l.labels(m, "header") {
		if h.Header == nil {
			h.Header = map[string][]string{}
		}
		h.Header[textproto.CanonicalMIMEHeaderKey(k)] = []string{v}
	}
}

func (m mapping) url(key string) Field[string] {
	return decode(m, key, `a URL such as "http://web:80/"`, func(s string) (string, error) { return s, checkURL(s) })
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return err
	case u.Scheme == "" || u.Host == "" && u.Scheme != "http":
		return hint(fmt.Sprintf("did you mean %q?", "http://"+s))
	case u.Scheme != "http":
		return hint("only http is spoken")
	case u.Hostname() == "":
		return strconv.ErrSyntax
	}
	if p := u.Port(); p != "" {
		if v, err := strconv.ParseUint(p, 10, 16); err != nil || v == 0 {
			return hint("a port is a number from 1 to 65535")
		}
	}
	return nil
}

// urlHost takes the host and port of a URL that checkURL accepted.
func urlHost(f Field[string]) Ref {
	u, err := url.Parse(f.Value)
	if err != nil {
		return Ref{}
	}
	port := 80
	if v, err := strconv.Atoi(u.Port()); err == nil {
		port = v
	}
	return Ref{Pos: f.Pos, Text: u.Hostname(), Port: port}
}

func (l *load) decodeTCP(step mapping, s *Step) { s.TCP = l.exchange(step, "tcp") }
func (l *load) decodeUDP(step mapping, s *Step) { s.UDP = l.exchange(step, "udp") }

func (l *load) exchange(step mapping, word string) *Exchange {
	m, ok := l.verb(step, word, []string{"from", "to"}, "send", "expect", "count")
	if !ok {
		return &Exchange{}
	}
	e := &Exchange{From: m.ref("from"), Send: m.str("send"), Expect: m.str("expect"), Count: orDefault(m.integer("count", 1, 1_000_000), 1)}
	type target struct {
		host string
		port int
	}
	t := decode(m, "to", "host:port such as web:80", func(s string) (target, error) {
		i := strings.LastIndexByte(s, ':')
		if i <= 0 {
			return target{}, strconv.ErrSyntax
		}
		v, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || v == 0 {
			return target{}, hint("a port is a number from 1 to 65535")
		}
		return target{strings.Trim(s[:i], "[]"), int(v)}, nil
	})
	e.To = Ref{Pos: t.Pos, Text: t.Value.host, Port: t.Value.port}
	return e
}

func (l *load) decodeSleep(step mapping, s *Step) {
	f := step.duration("sleep")
	s.Sleep = &f
}

// checkStepOrder finds a step that is to start before one that stands above it.
func (l *load) checkStepOrder() {
	var last Field[time.Duration]
	for _, s := range l.sc.Steps {
		if s.At.IsSet() && last.IsSet() && s.At.Value < last.Value {
			l.addAt(s.At.Pos, Diagnostic{Rule: "step-order",
				Message: fmt.Sprintf("at: %v is earlier than the %v of the step on line %d; steps run in the order they are written", s.At.Value, last.Value, last.Pos.Line)})
		}
		if s.At.IsSet() {
			last = s.At
		}
	}
}
