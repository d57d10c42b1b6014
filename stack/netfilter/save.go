package netfilter

import (
	"slices"
	"strconv"
)

// Save prints tables as iptables-save does, without its comment lines, which carry a date. With no arguments it
// prints the tables that Restore or Exec have touched. The order is raw, mangle, nat, filter; chains are sorted by
// name behind the built-in ones. The text can be given to Restore, and to the real iptables-restore.
func (r *Ruleset) Save(tables ...Table) string { return r.save(tables, false) }

// SaveCounters is Save with the counters of every rule, as iptables-save -c.
func (r *Ruleset) SaveCounters(tables ...Table) string { return r.save(tables, true) }

func (r *Ruleset) save(tables []Table, counters bool) string {
	var b []byte
	for t := range numTables {
		if len(tables) == 0 && r.tables[t].loaded || slices.Contains(tables, t) {
			b = r.appendTable(b, t, counters)
		}
	}
	return string(b)
}

func (r *Ruleset) appendTable(b []byte, t Table, counters bool) []byte {
	c := &r.tables[t]
	names := c.names()
	b = append(append(append(b, '*'), t.String()...), '\n')
	for _, name := range names {
		b = append(append(append(b, ':'), name...), ' ')
		var packets, bytes uint64
		if h, ok := builtinHook(t, name); ok {
			b = append(b, c.policy[h].String()...)
			if s := r.states[c.find(name)]; s != nil {
				packets, bytes = s.packets, s.bytes
			}
		} else {
			b = append(b, '-')
		}
		b = append(appendCounters(append(b, ' '), packets, bytes), '\n')
	}
	for _, name := range names {
		ch := c.find(name)
		s := r.states[ch]
		for i, rule := range ch.rules {
			if counters {
				st := s.peek(i)
				b = append(appendCounters(b, st.packets, st.bytes), ' ')
			}
			b = append(rule.AppendText(b), '\n')
		}
	}
	return append(b, "COMMIT\n"...)
}

func appendCounters(b []byte, packets, bytes uint64) []byte {
	b = strconv.AppendUint(append(b, '['), packets, 10)
	return append(strconv.AppendUint(append(b, ':'), bytes, 10), ']')
}
