package nftables

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// List prints the ruleset as nft list ruleset does, with the times that elements have left at a time.
func (r *Ruleset) List(now time.Duration) string {
	var b strings.Builder
	for _, s := range r.states {
		s.list(&b, now)
	}
	return b.String()
}

// ListTable prints one table, "ip kube-proxy", as nft list table does; false if there is none.
func (r *Ruleset) ListTable(name string, now time.Duration) (string, bool) {
	s := r.find(name)
	if s == nil {
		return "", false
	}
	var b strings.Builder
	s.list(&b, now)
	return b.String(), true
}

// TableNames returns the tables with their families, in the order in which they were made.
func (r *Ruleset) TableNames() []string {
	names := make([]string, len(r.states))
	for i, s := range r.states {
		names[i] = s.table.name
	}
	return names
}

// ListObject prints one chain, set or map within its table, as nft list chain does; false if there is none.
func (r *Ruleset) ListObject(kind, table, name string, now time.Duration) (string, bool) {
	s := r.find(table)
	if s == nil {
		return "", false
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table %s {\n", table)
	in, c := s.table.sets[name], s.table.chains[name]
	switch {
	case kind == "chain" && c != nil:
		s.listChain(&b, c)
	case kind == "set" && in != nil && in.data == nil, kind == "map" && in != nil && in.data != nil:
		s.listSet(&b, in, now)
	default:
		return "", false
	}
	b.WriteString("}\n")
	return b.String(), true
}

func (s *state) list(b *strings.Builder, now time.Duration) {
	fmt.Fprintf(b, "table %s {\n", s.table.name)
	if s.table.comment != "" {
		fmt.Fprintf(b, "\tcomment \"%s\"\n", s.table.comment)
	}
	sep := ""
	for _, name := range s.table.setsIn {
		b.WriteString(sep)
		s.listSet(b, s.table.sets[name], now)
		sep = "\n"
	}
	for _, name := range s.table.order {
		b.WriteString(sep)
		s.listChain(b, s.table.chains[name])
		sep = "\n"
	}
	b.WriteString("}\n")
}

func (s *state) listSet(b *strings.Builder, in *set, now time.Duration) {
	kind, data := "set", ""
	if in.data != nil {
		kind, data = "map", " : "+typeNames(in.data)
	}
	fmt.Fprintf(b, "\t%s %s {\n\t\ttype %s%s\n", kind, in.name, typeNames(in.types), data)
	if in.size > 0 {
		fmt.Fprintf(b, "\t\tsize %d\n", in.size)
	}
	if len(in.flags) > 0 {
		fmt.Fprintf(b, "\t\tflags %s\n", strings.Join(in.sortedFlags(), ","))
	}
	if in.timeout != 0 {
		fmt.Fprintf(b, "\t\ttimeout %s\n", formatDuration(in.timeout))
	}
	if in.comment != "" {
		fmt.Fprintf(b, "\t\tcomment \"%s\"\n", in.comment)
	}
	s.listElements(b, in, now)
	b.WriteString("\t}\n")
}

// sortedFlags are in nft's order.
func (in *set) sortedFlags() []string {
	var list []string
	for _, f := range []string{"constant", "dynamic", "interval", "timeout"} {
		if in.has(f) {
			list = append(list, f)
		}
	}
	return list
}

// listElements prints two addresses to a line, as nft does, and one of everything else.
func (s *state) listElements(b *strings.Builder, in *set, now time.Duration) {
	live := slices.DeleteFunc(s.elements(in.name).sorted(len(in.types)), func(x *element) bool { return x.expires != 0 && x.expires <= now })
	if len(live) == 0 {
		return
	}
	perLine := 1
	if len(in.types) == 1 && in.types[0] == typeAddr && in.data == nil {
		perLine = 2
	}
	b.WriteString("\t\telements = { ")
	for i, x := range live {
		switch {
		case i == 0:
		case i%perLine == 0:
			b.WriteString(",\n\t\t\t     ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(in.text(x, now))
	}
	b.WriteString(" }\n")
}

func (s *state) listChain(b *strings.Builder, c *chain) {
	fmt.Fprintf(b, "\tchain %s {\n", c.name)
	if c.comment != "" {
		fmt.Fprintf(b, "\t\tcomment \"%s\"\n", c.comment)
	}
	if c.typ != "" {
		policy := "accept"
		if c.drop {
			policy = "drop"
		}
		fmt.Fprintf(b, "\t\ttype %s hook %s priority %s; policy %s;\n", c.typ, hooks[c.hook], c.priorityText(), policy)
	}
	for _, r := range c.rules {
		b.WriteString("\t\t" + r.text(s) + "\n")
	}
	b.WriteString("\t}\n")
}

// priorityText is a name where one is near, as nft has it: "dstnat - 10".
func (c *chain) priorityText() string {
	for _, p := range priorities {
		if p.hooks != nil && !slices.Contains(p.hooks, c.hook) {
			continue
		}
		switch by := c.priority - p.value; {
		case by == 0:
			return p.name
		case by > 0 && by <= 10:
			return fmt.Sprintf("%s + %d", p.name, by)
		case by < 0 && by >= -10:
			return fmt.Sprintf("%s - %d", p.name, -by)
		}
	}
	return fmt.Sprint(c.priority)
}
