package shell

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/podwire/podwire/stack/nftables"
)

var nftCommand = Command{
	Name:    "nft",
	Usage:   "list {ruleset|tables|table [FAMILY] TABLE|{chain|set|map} [FAMILY] TABLE NAME} | [-c] -f {FILE|-} | [-c] {add|insert|delete|flush ...}",
	Summary: "list and change nf_tables, where kube-proxy in nftables mode has its rules",
	run:     (*call).nft,
}

// nft lists tables itself and has package nftables do the rest. Options stand in
// front, as the real tool wants them.
func (c *call) nft() error {
	words, check, file := c.args, false, ""
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		switch w := words[0]; w {
		case "-c", "--check":
			check = true
		case "-f", "--file":
			if len(words) < 2 {
				return c.misused("%s wants a file", w)
			}
			file, words = words[1], words[1:]
		case "-a", "--handle", "-n", "--numeric", "-nn", "-s", "--stateless":
			return c.misused("option %s is not known here: text is numeric, and rules have no handles", w)
		case "--help", "-h":
			c.printf("usage: %s %s\n", c.name, c.usage)
			return nil
		default:
			return c.misused("unknown option %s", w)
		}
		words = words[1:]
	}
	switch {
	case file != "" && len(words) > 0:
		return c.misused("found a file and a command, want one")
	case file != "":
		return c.nftFile(file, check)
	case len(words) == 0:
		return c.misused("no command specified")
	case words[0] == "list":
		return c.nftList(words[1:])
	}
	return c.nftApply(strings.Join(words, " "), check)
}

func (c *call) nftFile(name string, check bool) error {
	in := c.In
	if name != "-" {
		f, err := os.Open(name)
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
	return c.nftApply(string(text), check)
}

// readAll reads standard input.
func (c *call) readAll() (string, error) {
	text, err := io.ReadAll(io.LimitReader(c.In, maxRules))
	return string(text), err
}

func (c *call) nftApply(text string, check bool) error {
	s, err := nftables.Parse(text)
	if err != nil {
		return c.fail(1, "%v", err)
	}
	c.do(func() {
		r, now := c.host.NFTables(), c.lab.Driver().Now()
		if check {
			err = r.Check(s, now)
		} else if err = r.Apply(s, now); err == nil {
			c.host.RulesChanged()
		}
	})
	if err != nil {
		return c.fail(1, "%v", err)
	}
	return nil
}

// nftList is nft list.
func (c *call) nftList(words []string) error {
	if len(words) == 0 {
		return c.misused("list what?")
	}
	kind, words := words[0], words[1:]
	family := "ip"
	if len(words) > 0 && (words[0] == "ip" || words[0] == "inet") {
		family, words = words[0], words[1:]
	}
	want := map[string]int{"ruleset": 0, "tables": 0, "table": 1, "chain": 2, "set": 2, "map": 2}
	n, known := want[kind]
	switch {
	case !known:
		return c.misused("list %s is not known, want ruleset, tables, table, chain, set or map", kind)
	case len(words) != n:
		return c.misused("list %s: found %d names, want %d", kind, len(words), n)
	}
	var text string
	found := true
	c.do(func() {
		r, now := c.host.NFTables(), c.lab.Driver().Now()
		switch kind {
		case "ruleset":
			text = r.List(now)
		case "tables":
			for _, t := range r.TableNames() {
				text += "table " + t + "\n"
			}
		case "table":
			text, found = r.ListTable(family+" "+words[0], now)
		default:
			text, found = r.ListObject(kind, family+" "+words[0], words[1], now)
		}
	})
	if !found {
		return c.fail(1, "Error: No such file or directory: list %s %s", kind, strings.Join(slices.Concat([]string{family}, words), " "))
	}
	c.printf("%s", text)
	return nil
}
