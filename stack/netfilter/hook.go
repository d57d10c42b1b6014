package netfilter

// A Hook is one of the five places where the kernel offers an IPv4 packet to netfilter.
type Hook uint8

// The hooks, in the order of the kernel's NF_INET_* numbers.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
	numHooks
)

var hookNames = [numHooks]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// String is the name of the built-in chain at the hook, such as PREROUTING.
func (h Hook) String() string {
	if h < numHooks {
		return hookNames[h]
	}
	return "HOOK?"
}

// A Table is one of the four iptables tables, in the order in which the kernel runs them where all four meet.
type Table uint8

// The tables. Their kernel priorities are raw -300, mangle -150, nat -100 for destinations and 100 for sources,
// filter 0.
const (
	Raw Table = iota
	Mangle
	NAT
	Filter
	numTables
)

var tableNames = [numTables]string{"raw", "mangle", "nat", "filter"}

// String is the table's name as iptables -t takes it.
func (t Table) String() string {
	if t < numTables {
		return tableNames[t]
	}
	return "table?"
}

// hookSet is a set of hooks, one bit each.
type hookSet uint8

const allHooks hookSet = 1<<numHooks - 1

func hooks(list ...Hook) hookSet {
	var s hookSet
	for _, h := range list {
		s |= 1 << h
	}
	return s
}

func (s hookSet) has(h Hook) bool { return s>>h&1 != 0 }

// tableSet is a set of tables, one bit each.
type tableSet uint8

const allTables tableSet = 1<<numTables - 1

// builtin says at which hooks each table has a built-in chain.
var builtin = [numTables]hookSet{
	Raw:    hooks(Prerouting, Output),
	Mangle: allHooks,
	NAT:    hooks(Prerouting, Input, Output, Postrouting),
	Filter: hooks(Input, Forward, Output),
}

var hookTables = [numHooks][]Table{
	Prerouting:  {Raw, Mangle, NAT},
	Input:       {Mangle, Filter, NAT},
	Forward:     {Mangle, Filter},
	Output:      {Raw, Mangle, NAT, Filter},
	Postrouting: {Mangle, NAT},
}

// Tables lists the tables that have a chain at the hook, in the order in which the kernel visits them. Connection
// tracking comes between raw and mangle. At INPUT nat follows filter, because source NAT has the priority 100 there.
// The caller must not change the slice.
func Tables(h Hook) []Table {
	if h < numHooks {
		return hookTables[h]
	}
	return nil
}

// builtinHook finds the hook of a built-in chain of table t by name.
func builtinHook(t Table, chain string) (Hook, bool) {
	for h := range numHooks {
		if hookNames[h] == chain {
			return h, builtin[t].has(h)
		}
	}
	return 0, false
}

func tableByName(name string) (Table, bool) {
	for t := range numTables {
		if tableNames[t] == name {
			return t, true
		}
	}
	return 0, false
}
