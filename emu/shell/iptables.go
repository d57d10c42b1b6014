package shell

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/stack/netfilter"
)

var iptablesCommand = Command{
	Name:    "iptables",
	Usage:   "[-t TABLE] {-L|-S} [CHAIN] [-nvx] [--line-numbers] | [-t TABLE] {-A|-I|-D|-R|-C|-N|-X|-F|-Z|-P} ...",
	Summary: "list and change netfilter rules; -L -v with counters",
	run:     (*call).iptables,
}

var iptablesSaveCommand = Command{
	Name: "iptables-save", Usage: "[-c] [-t TABLE]", Summary: "print all rules; -c with counters",
	run: (*call).iptablesSave,
}

var iptablesRestoreCommand = Command{
	Name: "iptables-restore", Usage: "[-cn] [FILE]", Summary: "load rules from a file or standard input, all or none",
	run: (*call).iptablesRestore,
}

// tables are the names of -t.
var tables = map[string]netfilter.Table{
	"raw": netfilter.Raw, "mangle": netfilter.Mangle, "nat": netfilter.NAT, "filter": netfilter.Filter,
}

// iptables lists rules itself and has netfilter do the rest.
func (c *call) iptables() error {
	for _, w := range c.args {
		if w == "-L" || w == "-S" || w == "--list" || w == "--list-rules" || w == "--help" ||
			strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--") && strings.ContainsAny(w, "LS") && strings.Trim(w, "-LSnvx") == "" {
			return c.listRules()
		}
	}
	if len(c.args) == 0 {
		return c.misused("no command specified")
	}
	words := make([]string, len(c.args))
	for i, w := range c.args {
		words[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
	}
	var err error
	c.do(func() {
		if err = c.host.Netfilter().Exec(strings.Join(words, " ")); err == nil {
			c.host.RulesChanged()
		}
	})
	if err != nil {
		return c.fail(1, "%v", err)
	}
	return nil
}

// listRules is iptables -L and -S.
func (c *call) listRules() error {
	var table string
	var list, spec, verbose, numbers bool
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.StringVarP(&table, "table", "t", "filter", "")
		f.BoolVarP(&list, "list", "L", false, "")
		f.BoolVarP(&spec, "list-rules", "S", false, "")
		f.BoolP("numeric", "n", true, "") // addresses are never resolved
		f.BoolVarP(&verbose, "verbose", "v", false, "")
		f.BoolP("exact", "x", true, "") // counters are never shortened
		f.BoolVar(&numbers, "line-numbers", false, "")
	})
	if !ok {
		return err
	}
	t, known := tables[table]
	switch {
	case !known:
		return c.fail(3, "can't initialize iptables table `%s': Table does not exist (do you need to insmod?)", table)
	case len(args) > 1:
		return c.misused("found %d chains, want one at most", len(args))
	}
	found := false
	c.do(func() {
		for _, ch := range c.host.Netfilter().Chains(t) {
			if len(args) == 1 && ch.Name != args[0] {
				continue
			}
			if spec {
				c.specChain(ch, verbose)
			} else {
				c.listChain(t, ch, verbose, numbers, found)
			}
			found = true
		}
		if spec {
			c.specRules(t, args, verbose)
		}
	})
	if !found {
		return c.fail(1, "No chain/target/match by that name.")
	}
	return nil
}

// specChain prints what iptables -S says of a chain before all rules.
func (c *call) specChain(ch netfilter.Chain, verbose bool) {
	if !ch.Builtin {
		c.printf("-N %s\n", ch.Name)
		return
	}
	c.printf("-P %s %v", ch.Name, ch.Policy)
	if verbose {
		c.printf(" -c %d %d", ch.Packets, ch.Bytes)
	}
	c.printf("\n")
}

// specRules prints the rules of all chains, or of one.
func (c *call) specRules(t netfilter.Table, only []string, verbose bool) {
	nf := c.host.Netfilter()
	for _, ch := range nf.Chains(t) {
		if len(only) == 1 && ch.Name != only[0] {
			continue
		}
		rules, _ := nf.Rules(t, ch.Name)
		for _, r := range rules {
			line := r.String()
			if verbose {
				counters := fmt.Sprintf(" -c %d %d", r.Packets, r.Bytes)
				if i := strings.Index(line, " -j "); i >= 0 {
					line = line[:i] + counters + line[i:]
				} else {
					line += counters
				}
			}
			c.printf("%s\n", line)
		}
	}
}

// listChain prints a chain as iptables -nL does, except that matches and the
// options of targets stand as they are written, not as -L rephrases them.
func (c *call) listChain(t netfilter.Table, ch netfilter.Chain, verbose, numbers, more bool) {
	if more {
		c.printf("\n")
	}
	rules, _ := c.host.Netfilter().Rules(t, ch.Name)
	switch {
	case ch.Builtin && verbose:
		c.printf("Chain %s (policy %v %d packets, %d bytes)\n", ch.Name, ch.Policy, ch.Packets, ch.Bytes)
	case ch.Builtin:
		c.printf("Chain %s (policy %v)\n", ch.Name, ch.Policy)
	default:
		c.printf("Chain %s (%d references)\n", ch.Name, c.references(t, ch.Name))
	}
	head := ""
	if numbers {
		head = "num  "
	}
	if verbose {
		c.printf("%s%8s %8s %-10s %-4s %-3s %-6s %-6s %-18s   %s\n", head, "pkts", "bytes", "target", "prot", "opt", "in", "out", "source", "destination")
	} else {
		c.printf("%s%-10s %-4s %-3s %-18s   %s\n", head, "target", "prot", "opt", "source", "destination")
	}
	for i, r := range rules {
		f := splitRule(r.String())
		line := ""
		if numbers {
			line = fmt.Sprintf("%-4d ", i+1)
		}
		if verbose {
			line += fmt.Sprintf("%8d %8d %-10s %-4s %-3s %-6s %-6s %-18s   %-18s", r.Packets, r.Bytes, f.target, f.proto, "--", f.in, f.out, f.src, f.dst)
		} else {
			line += fmt.Sprintf("%-10s %-4s %-3s %-18s   %-18s", f.target, f.proto, "--", f.src, f.dst)
		}
		c.printf("%s\n", strings.TrimRight(line+"   "+f.rest, " "))
	}
}

// references counts the rules that jump to a chain.
func (c *call) references(t netfilter.Table, chain string) int {
	nf, n := c.host.Netfilter(), 0
	for _, ch := range nf.Chains(t) {
		rules, _ := nf.Rules(t, ch.Name)
		for _, r := range rules {
			if r.Target() == chain {
				n++
			}
		}
	}
	return n
}

// ruleFields are the columns of iptables -L.
type ruleFields struct {
	target, proto, in, out, src, dst, rest string
}

// splitRule takes apart a rule as iptables-save prints it. A quoted comment has
// no option in it that would be mistaken: the header comes first.
func splitRule(text string) ruleFields {
	f := ruleFields{proto: "all", in: "*", out: "*", src: "0.0.0.0/0", dst: "0.0.0.0/0"}
	words := strings.Fields(text)
	words = words[min(2, len(words)):] // -A CHAIN
	not := ""
	for len(words) > 0 {
		to := map[string]*string{"-s": &f.src, "-d": &f.dst, "-i": &f.in, "-o": &f.out, "-p": &f.proto}[words[0]]
		if words[0] == "!" && len(words) > 1 && strings.Contains(" -s -d -i -o -p ", " "+words[1]+" ") {
			not, words = "!", words[1:]
			continue
		}
		if to == nil || len(words) < 2 {
			break
		}
		*to = not + strings.TrimSuffix(words[1], "/32")
		not, words = "", words[2:]
	}
	rest := strings.Join(words, " ")
	for _, jump := range []string{"-j ", "-g "} {
		i := strings.LastIndex(" "+rest, " "+jump)
		if i < 0 {
			continue
		}
		target, options, _ := strings.Cut(rest[i+len(jump):], " ")
		f.target, rest = target, strings.TrimSpace(strings.TrimSpace(rest[:i])+" "+options)
	}
	f.rest = rest
	return f
}

func (c *call) iptablesSave() error {
	var counters bool
	var table string
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&counters, "counters", "c", false, "")
		f.StringVarP(&table, "table", "t", "", "")
	})
	if !ok {
		return err
	}
	t, known := tables[table]
	switch {
	case len(args) > 0:
		return c.misused("argument %q is too much", args[0])
	case table != "" && !known:
		return c.fail(1, "Cannot initialize: Table `%s' does not exist", table)
	}
	var only []netfilter.Table
	if known {
		only = append(only, t)
	}
	var text string
	c.do(func() {
		save := c.host.Netfilter().Save
		if counters {
			save = c.host.Netfilter().SaveCounters
		}
		text = save(only...)
	})
	c.printf("%s", text)
	return nil
}

// maxRules bounds what iptables-restore reads.
const maxRules = 256 << 20

func (c *call) iptablesRestore() error {
	var o netfilter.RestoreOptions
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&o.Counters, "counters", "c", false, "")
		f.BoolVarP(&o.NoFlush, "noflush", "n", false, "")
	})
	if !ok {
		return err
	}
	in := c.In
	switch {
	case len(args) > 1:
		return c.misused("found %d files, want one or none", len(args))
	case len(args) == 1:
		f, err := os.Open(args[0])
		if err != nil {
			return c.fail(1, "%v", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxRules))
	if err != nil {
		return c.fail(1, "%v", err)
	}
	c.do(func() {
		if err = c.host.Netfilter().Restore(string(text), o); err == nil {
			c.host.RulesChanged()
		}
	})
	if err != nil {
		return c.fail(1, "%v", err)
	}
	return nil
}

// atoi reads a decimal number that stands for a port.
func atoi(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}
