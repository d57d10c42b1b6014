package netfilter

// opcode is what a rule does with a packet that it matches.
type opcode uint8

const (
	opContinue opcode = iota // no target, or one that only counts
	opAct                    // change something and go on
	opLog                    // tell Ruleset.Log and go on
	opVerdict                // decide
	opReturn                 // back to the calling chain
	opJump                   // call a user chain
	opGoto                   // go to a user chain for good
)

// Rule is one rule, immutable and shareable between rulesets; its counters live in each Ruleset.
type Rule struct {
	chain    string
	src, dst *addrTest
	in, out  *ifaceTest

	// Small fields stand together: a node has hundreds of thousands of rules.
	table    Table
	proto    uint8 // 0 is any
	negProto bool
	frag     fragTest
	op       opcode
	impure   bool // some match has side effects or draws a random number

	matches []ruleMatch
	memory  int      // words of per-ruleset state, for matches that remember something
	jump    string   // target or chain name, "" for none
	target  target   // nil for the standard targets and chains
	verdict *Verdict // of opVerdict
}

// fragTest is -f: nothing, second and further fragments only, or anything else only.
type fragTest uint8

const (
	fragAny fragTest = iota
	fragOnly
	fragNone
)

// ruleMatch is a match with the name under which -m loads it.
type ruleMatch struct {
	name string
	matcher
	memory int // index of its first word of state
}

// matcher is the test of one match extension.
type matcher interface {
	test(e *eval, mem []uint64) bool
	appendTo(b []byte) []byte // its options, each after a blank
}

// target is what a target extension prints and where it may stand.
type target interface {
	appendTo(b []byte) []byte
	place() (tableSet, hookSet)
}

// actor is a target that changes something and lets the packet go on.
type actor interface{ act(e *eval) }

// decider is a target that ends the run.
type decider interface{ decide() Verdict }

// explainer is a target whose explanation needs more than its name.
type explainer interface{ explain() string }

// rememberer is a match with state per rule and ruleset: limit, statistic nth.
type rememberer interface {
	words() int
	initial(mem []uint64, e *eval)
}

// impure marks matches whose evaluation has effects, so that an index may not skip them.
type impure interface{ impure() }

// placed is a match that only some hooks allow.
type placed interface{ hooks() hookSet }

// tabled is a match that only some tables allow.
type tabled interface{ tables() tableSet }

// Table is the table the rule was written for.
func (r *Rule) Table() Table { return r.table }

// Chain is the chain the rule is in.
func (r *Rule) Chain() string { return r.chain }

// Target is the name of the rule's target or of the chain it jumps to; "" when it only counts.
func (r *Rule) Target() string { return r.jump }

// Comment is the text of the rule's first comment match, or "".
func (r *Rule) Comment() string {
	for _, m := range r.matches {
		if c, ok := m.matcher.(*commentMatch); ok {
			return c.text
		}
	}
	return ""
}

// String is the rule as iptables-save prints it, beginning with -A and the chain.
func (r *Rule) String() string { return string(r.AppendText(nil)) }

// AppendText appends String to b.
func (r *Rule) AppendText(b []byte) []byte {
	return r.appendSpec(append(append(b, "-A "...), r.chain...))
}

func (r *Rule) appendSpec(b []byte) []byte {
	b = r.appendHeader(b)
	for _, m := range r.matches {
		b = m.appendTo(append(append(b, " -m "...), m.name...))
	}
	if r.jump == "" {
		return b
	}
	if r.op == opGoto {
		return append(append(b, " -g "...), r.jump...)
	}
	b = append(append(b, " -j "...), r.jump...)
	if r.target != nil {
		b = r.target.appendTo(b)
	}
	return b
}

func (r *Rule) appendHeader(b []byte) []byte {
	if r.src != nil {
		b = r.src.appendTo(b, "-s")
	}
	if r.dst != nil {
		b = r.dst.appendTo(b, "-d")
	}
	if r.in != nil {
		b = r.in.appendTo(b, "-i")
	}
	if r.out != nil {
		b = r.out.appendTo(b, "-o")
	}
	if r.proto != 0 {
		b = appendProto(append(appendNot(b, r.negProto), " -p "...), r.proto)
	}
	if r.frag != fragAny {
		b = append(appendNot(b, r.frag == fragNone), " -f"...)
	}
	return b
}

// appendNot appends the exclamation mark of an inverted option.
func appendNot(b []byte, neg bool) []byte {
	if neg {
		return append(b, " !"...)
	}
	return b
}

// Explain says in one line, for captures, what the rule does:
//
//	nat KUBE-SEP-XXXX: DNAT to 10.244.1.2:8080
func (r *Rule) Explain() string {
	s := r.table.String() + " " + r.chain + ": "
	switch {
	case r.op == opJump:
		return s + "to chain " + r.jump
	case r.op == opGoto:
		return s + "goto chain " + r.jump
	case r.jump == "":
		return s + "count"
	}
	s += r.jump
	if x, ok := r.target.(explainer); ok {
		s += x.explain()
	}
	return s
}

// header tests what needs no extension. The order is the kernel's, cheapest refusals first.
func (r *Rule) header(e *eval) bool {
	if r.dst != nil && !r.dst.match(e.dst) || r.src != nil && !r.src.match(e.src) {
		return false
	}
	if r.in != nil && !r.in.match(e.p.In) || r.out != nil && !r.out.match(e.p.Out) {
		return false
	}
	if r.proto != 0 && (r.proto == e.p.Proto) == r.negProto {
		return false
	}
	return r.frag == fragAny || (r.frag == fragOnly) == e.p.Fragment
}
