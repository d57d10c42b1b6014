package netfilter

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// set is an ipset of type hash:ip, hash:net, hash:ip,port or hash:net,port.
type set struct {
	name    string
	net     bool            // entries are prefixes
	port    bool            // entries carry a protocol and a port
	entries map[setKey]bool // false: nomatch
	lengths []int           // prefix lengths in use, longest first
	counts  map[int]int     // how many entries have a length
}

// setKey is one entry; proto and port are zero in sets without ports.
type setKey struct {
	addr  netip.Prefix
	proto uint8
	port  uint16
}

var setTypes = map[string]set{
	"hash:ip": {}, "hash:net": {net: true}, "hash:ip,port": {port: true}, "hash:net,port": {net: true, port: true},
}

// contains looks for the longest prefix that holds the address, as ipset does; nomatch entries are holes.
func (s *set) contains(a netip.Addr, proto uint8, port uint16) bool {
	if !s.port {
		proto, port = 0, 0
	}
	for _, n := range s.lengths {
		p, err := a.Prefix(n)
		if err != nil {
			continue
		}
		if match, ok := s.entries[setKey{p, proto, port}]; ok {
			return match
		}
	}
	return false
}

func (s *set) add(k setKey, match bool) {
	if _, ok := s.entries[k]; !ok {
		n := k.addr.Bits()
		if s.counts[n]++; s.counts[n] == 1 {
			s.lengths = append(s.lengths, n)
			slices.SortFunc(s.lengths, func(a, b int) int { return b - a })
		}
	}
	s.entries[k] = match
}

func (s *set) remove(k setKey) {
	delete(s.entries, k)
	n := k.addr.Bits()
	if s.counts[n]--; s.counts[n] == 0 {
		s.lengths = slices.DeleteFunc(s.lengths, func(x int) bool { return x == n })
	}
}

func (s *set) clear() {
	clear(s.entries)
	clear(s.counts)
	s.lengths = nil
}

func (s *set) typeName() string {
	name := "hash:ip"
	if s.net {
		name = "hash:net"
	}
	if s.port {
		name += ",port"
	}
	return name
}

// RestoreSets carries out commands as ipset restore does, one per line: create NAME TYPE, add and del NAME ENTRY,
// flush and destroy NAME, swap NAME NAME. Types are hash:ip, hash:net, hash:ip,port and hash:net,port; entries are
// written 10.0.0.1, 10.0.0.0/8 or 10.0.0.1,tcp:80, with nomatch behind a hole. -exist, or the -! of the line,
// tolerates what is there, or is not there, already. Options of create that only size the set are ignored.
//
// Unlike Restore it stops at the first error and keeps what came before, as ipset does.
func (r *Ruleset) RestoreSets(text string) error {
	n := 0
	for line := range strings.Lines(text) {
		n++
		words, err := splitWords(strings.TrimRight(line, "\r\n"))
		if err == nil && len(words) > 0 && !strings.HasPrefix(words[0].text, "#") {
			err = r.setCommand(words)
		}
		if err != nil {
			return atLine(err, n)
		}
	}
	return nil
}

func (r *Ruleset) setCommand(words []word) error {
	exist := false
	words = slices.DeleteFunc(words, func(w word) bool {
		x := w.text == "-exist" || w.text == "-!"
		exist = exist || x
		return x
	})
	if len(words) == 0 {
		return nil
	}
	verbs := []string{"create", "add", "del", "flush", "destroy", "swap", "COMMIT"}
	verb := words[0]
	if !slices.Contains(verbs, verb.text) {
		return verb.unknown("set command", verbs)
	}
	if verb.text == "COMMIT" {
		return nil
	}
	if len(words) < 2 {
		return verb.errorf("the name of a set is missing")
	}
	if verb.text == "create" {
		return r.createSet(words, exist)
	}
	s := r.sets[words[1].text]
	if s == nil {
		return r.noSet(words[1])
	}
	return r.changeSet(s, words, exist)
}

func (r *Ruleset) createSet(words []word, exist bool) error {
	const most = 31
	name := words[1]
	if len(words) < 3 {
		return name.errorf("the type of the set is missing")
	}
	typ, ok := setTypes[words[2].text]
	switch {
	case !ok:
		return words[2].unknown("set type", sortedKeys(setTypes))
	case len(name.text) > most || !plainName(name.text):
		return name.errorf("not a name for a set")
	}
	for i, w := range words[3:] {
		if w.text == "inet6" && words[3+i-1].text == "family" {
			return w.errorf("these are IPv4 rules")
		}
	}
	if old := r.sets[name.text]; old != nil {
		if exist && old.typeName() == words[2].text {
			return nil
		}
		return name.errorf("the set exists already, of type %s", old.typeName())
	}
	typ.name, typ.entries, typ.counts = name.text, make(map[setKey]bool), make(map[int]int)
	if r.sets == nil {
		r.sets = make(map[string]*set)
	}
	r.sets[name.text] = &typ
	return nil
}

func (r *Ruleset) noSet(w word) error {
	e := w.errorf("no such set")
	e.Near, e.Err = typo.Nearest(w.text, sortedKeys(r.sets)), ErrNoSet
	return e
}

func (r *Ruleset) changeSet(s *set, words []word, exist bool) error {
	switch words[0].text {
	case "flush":
		s.clear()
		return nil
	case "destroy":
		if r.usesSet(s.name) {
			return words[1].errorf("the set is in use by a rule")
		}
		delete(r.sets, s.name)
		return nil
	}
	if len(words) < 3 {
		return words[1].errorf("something is missing behind the name of the set")
	}
	if words[0].text == "swap" {
		other := r.sets[words[2].text]
		if other == nil {
			return r.noSet(words[2])
		}
		if other.typeName() != s.typeName() {
			return words[2].errorf("sets of different types cannot be swapped")
		}
		r.sets[s.name], r.sets[other.name] = other, s
		s.name, other.name = other.name, s.name
		return nil
	}
	k, err := s.parseEntry(words[2])
	if err != nil {
		return err
	}
	_, have := s.entries[k]
	switch {
	case have == (words[0].text == "add") && exist:
	case have && words[0].text == "add":
		return words[2].errorf("the entry is in the set already")
	case !have && words[0].text == "del":
		return words[2].errorf("the entry is not in the set")
	case have:
		s.remove(k)
	default:
		s.add(k, !slices.ContainsFunc(words[3:], func(w word) bool { return w.text == "nomatch" }))
	}
	return nil
}

// parseEntry reads ADDR[/LEN][,[PROTO:]PORT].
func (s *set) parseEntry(w word) (setKey, error) {
	addr, port, hasPort := strings.Cut(w.text, ",")
	if hasPort != s.port {
		return setKey{}, w.errorf("this is no entry for a set of type %s", s.typeName())
	}
	host, mask, hasMask := strings.Cut(addr, "/")
	a, err := parseHost(word{host, w.col}, false)
	if err != nil {
		return setKey{}, err
	}
	n := 32
	if hasMask {
		if n, err = strconv.Atoi(mask); err != nil || n < 0 || n > 32 || !s.net && n != 32 || n == 0 {
			return setKey{}, w.errorf("not an entry for a set of type %s", s.typeName())
		}
	}
	k := setKey{addr: netip.PrefixFrom(a, n).Masked()}
	if !hasPort {
		return k, nil
	}
	k.proto = protoTCP
	at := word{port, w.col + len(addr) + 1}
	if name, rest, ok := strings.Cut(port, ":"); ok {
		if k.proto, err = parseProto(word{name, at.col}); err != nil {
			return k, err
		}
		at = word{rest, at.col + len(name) + 1}
	}
	k.port, err = parsePort(at)
	return k, err
}

// SaveSets prints the sets as ipset save does, sorted, with the entries sorted too.
func (r *Ruleset) SaveSets() string {
	var b strings.Builder
	for _, name := range sortedKeys(r.sets) {
		s := r.sets[name]
		b.WriteString("create " + name + " " + s.typeName() + " family inet\n")
		var lines []string
		for k, match := range s.entries {
			lines = append(lines, s.line(k, match))
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, ""))
	}
	return b.String()
}

func (s *set) line(k setKey, match bool) string {
	text := "add " + s.name + " " + k.addr.Addr().String()
	if k.addr.Bits() != k.addr.Addr().BitLen() {
		text = "add " + s.name + " " + k.addr.String()
	}
	if s.port {
		text += "," + string(appendProto(nil, k.proto)) + ":" + strconv.Itoa(int(k.port))
	}
	if !match {
		text += " nomatch"
	}
	return text + "\n"
}
