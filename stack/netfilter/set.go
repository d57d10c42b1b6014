package netfilter

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// set is an ipset of one of the setTypes.
type set struct {
	name    string
	typ     string
	net     bool            // entries are prefixes, or with second end in one
	port    bool            // entries carry a protocol and a port
	second  bool            // entries end in a second address
	bitmap  bool            // entries are ports alone
	entries map[setKey]bool // false: nomatch
	lengths []int           // prefix lengths in use, longest first
	counts  map[int]int     // how many entries have a length
}

// setKey is one entry; what its set has not is zero.
type setKey struct {
	addr   netip.Prefix
	proto  uint8
	port   uint16
	second netip.Prefix
}

var setTypes = map[string]set{
	"hash:ip": {}, "hash:net": {net: true}, "hash:ip,port": {port: true}, "hash:net,port": {net: true, port: true},
	"hash:ip,port,ip": {port: true, second: true}, "hash:ip,port,net": {port: true, second: true, net: true},
	"bitmap:port": {bitmap: true},
}

// length is the prefix length of an entry that its set files it under.
func (s *set) length(k setKey) int {
	switch {
	case s.bitmap:
		return 0
	case s.second:
		return k.second.Bits()
	}
	return k.addr.Bits()
}

// contains looks for the longest prefix that holds the address, as ipset does; nomatch entries are holes. Second is the
// second address.
func (s *set) contains(a netip.Addr, proto uint8, port uint16, second netip.Addr) bool {
	if s.bitmap {
		return s.entries[setKey{port: port}]
	}
	if !s.port {
		proto, port = 0, 0
	}
	for _, n := range s.lengths {
		k := setKey{proto: proto, port: port}
		var err error
		if s.second {
			k.addr = netip.PrefixFrom(a, a.BitLen())
			k.second, err = second.Prefix(n)
		} else {
			k.addr, err = a.Prefix(n)
		}
		if err != nil {
			continue
		}
		if match, ok := s.entries[k]; ok {
			return match
		}
	}
	return false
}

func (s *set) add(k setKey, match bool) {
	if _, ok := s.entries[k]; !ok {
		n := s.length(k)
		if s.counts[n]++; s.counts[n] == 1 {
			s.lengths = append(s.lengths, n)
			slices.SortFunc(s.lengths, func(a, b int) int { return b - a })
		}
	}
	s.entries[k] = match
}

func (s *set) remove(k setKey) {
	delete(s.entries, k)
	n := s.length(k)
	if s.counts[n]--; s.counts[n] == 0 {
		s.lengths = slices.DeleteFunc(s.lengths, func(x int) bool { return x == n })
	}
}

func (s *set) clear() {
	clear(s.entries)
	clear(s.counts)
	s.lengths = nil
}

func (s *set) typeName() string { return s.typ }

// RestoreSets carries out commands as ipset restore does, one per line: create NAME TYPE, add and del NAME ENTRY,
// flush and destroy NAME, swap NAME NAME. Types are hash:ip, hash:net, hash:ip,port, hash:net,port, hash:ip,port,ip,
// hash:ip,port,net and bitmap:port; entries are written 10.0.0.1, 10.0.0.0/8, 10.0.0.1,tcp:80, 10.0.0.1,tcp:80,10.0.0.2 or
// 80, with nomatch behind a hole. -exist, or the -! of the line,
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
	typ.name, typ.typ, typ.entries, typ.counts = name.text, words[2].text, make(map[setKey]bool), make(map[int]int)
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

// parseEntry reads ADDR[/LEN][,[PROTO:]PORT[,ADDR[/LEN]]], or the port of a bitmap.
func (s *set) parseEntry(w word) (setKey, error) {
	var k setKey
	if s.bitmap {
		port, err := parsePort(w)
		return setKey{port: port}, err
	}
	parts := strings.Split(w.text, ",")
	want := 1
	if s.port {
		want++
	}
	if s.second {
		want++
	}
	if len(parts) != want {
		return k, w.errorf("this is no entry for a set of type %s", s.typeName())
	}
	var err error
	if k.addr, err = s.parsePrefix(word{parts[0], w.col}, s.net && !s.second); err != nil || !s.port {
		return k, err
	}
	k.proto = protoTCP
	at := word{parts[1], w.col + len(parts[0]) + 1}
	if name, rest, ok := strings.Cut(parts[1], ":"); ok {
		if k.proto, err = parseProto(word{name, at.col}); err != nil {
			return k, err
		}
		at = word{rest, at.col + len(name) + 1}
	}
	if k.port, err = parsePort(at); err != nil || !s.second {
		return k, err
	}
	k.second, err = s.parsePrefix(word{parts[2], at.col + len(at.text) + 1}, s.net)
	return k, err
}

// parsePrefix reads ADDR[/LEN].
func (s *set) parsePrefix(w word, isNet bool) (netip.Prefix, error) {
	host, mask, hasMask := strings.Cut(w.text, "/")
	a, err := parseHost(word{host, w.col}, false)
	if err != nil {
		return netip.Prefix{}, err
	}
	n := 32
	if hasMask {
		if n, err = strconv.Atoi(mask); err != nil || n < 0 || n > 32 || !isNet && n != 32 || n == 0 {
			return netip.Prefix{}, w.errorf("not an entry for a set of type %s", s.typeName())
		}
	}
	return netip.PrefixFrom(a, n).Masked(), nil
}

// SaveSets prints the sets as ipset save does, sorted, with the entries sorted too.
func (r *Ruleset) SaveSets() string {
	var b strings.Builder
	for _, name := range sortedKeys(r.sets) {
		s := r.sets[name]
		b.WriteString("create " + name + " " + s.typeName() + " " + s.options() + "\n")
		for _, member := range s.members() {
			b.WriteString("add " + name + " " + member + "\n")
		}
	}
	return b.String()
}

// options are those of create.
func (s *set) options() string {
	if s.bitmap {
		return "range 0-65535"
	}
	return "family inet"
}

// members are the entries as ipset prints them, sorted.
func (s *set) members() []string {
	var lines []string
	for k, match := range s.entries {
		lines = append(lines, s.member(k, match))
	}
	slices.Sort(lines)
	return lines
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (s *set) member(k setKey, match bool) string {
	if s.bitmap {
		return strconv.Itoa(int(k.port))
	}
	text := prefixText(k.addr)
	if s.port {
		text += "," + string(appendProto(nil, k.proto)) + ":" + strconv.Itoa(int(k.port))
	}
	if s.second {
		text += "," + prefixText(k.second)
	}
	if !match {
		text += " nomatch"
	}
	return text
}

// A Set describes an ipset for listings.
type Set struct {
	Name, Type, Options string
	References          int // rules that match it
	Members             []string
}

// Sets lists the sets by name.
func (r *Ruleset) Sets() []Set {
	var list []Set
	for _, name := range sortedKeys(r.sets) {
		s := r.sets[name]
		list = append(list, Set{Name: name, Type: s.typeName(), Options: s.options(), References: r.references(name), Members: s.members()})
	}
	return list
}
