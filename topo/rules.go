package topo

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/podwire/podwire/emu"
)

// Rules are netfilter rules that a machine starts with: files with what
// iptables-save, ipset save and nft list ruleset have printed, on a real machine
// for example.
type Rules struct {
	IPTables Field[string] // path, relative to the scenario
	IPSet    Field[string]
	NFTables Field[string]

	rules, sets, nft string // what is in them
}

// rules decodes the keys iptables, ipset and nftables of a node or host and reads
// the files that they name. What is wrong in them is reported where it is.
func (l *load) rules(m mapping) Rules {
	r := Rules{IPTables: m.str("iptables"), IPSet: m.str("ipset"), NFTables: m.str("nftables")}
	l.nftFile(&r)
	if r.IPTables.Value == "" && r.IPSet.Value == "" {
		return r
	}
	var setsAt, rulesAt string
	var ok1, ok2 bool
	setsAt, r.sets, ok1 = l.ruleFile(r.IPSet, "ipset save")
	rulesAt, r.rules, ok2 = l.ruleFile(r.IPTables, "iptables-save")
	if !ok1 || !ok2 {
		return r
	}
	inSets, inRules := emu.CheckRules(r.sets, r.rules)
	switch {
	case inSets != nil:
		l.reportRule(setsAt, r.sets, inSets)
	case inRules != nil:
		l.reportRule(rulesAt, r.rules, inRules)
	}
	return r
}

// nftFile reads the file of nf_tables.
func (l *load) nftFile(r *Rules) {
	path, text, ok := l.ruleFile(r.NFTables, "nft list ruleset")
	if !ok || text == "" {
		return
	}
	r.nft = text
	var bad *emu.NFTablesError
	if errors.As(emu.CheckNFTables(text), &bad) {
		l.reportRule(path, text, &emu.RuleError{Line: bad.Line, Column: bad.Column, Word: bad.Word, Msg: bad.Msg, Near: bad.Near})
	}
}

// ruleFile reads one file; no name is an empty file.
func (l *load) ruleFile(name Field[string], tool string) (path, text string, ok bool) {
	if path = name.Value; path == "" {
		return "", "", true
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(l.sc.File), path)
	}
	data, problem := readFile(path, false)
	if problem == "" && len(data) > MaxFileSize {
		problem = fmt.Sprintf("the file is larger than %d MiB", MaxFileSize>>20)
	}
	if problem != "" {
		l.addAt(name.Pos, Diagnostic{Rule: "rule-file", Message: fmt.Sprintf("file %s: %s", quoted(name.Value), strings.ReplaceAll(problem, "a YAML file", "what "+tool+" prints")),
			Hint: "paths are relative to the scenario file"})
		return path, "", false
	}
	if _, again := l.order[path]; !again {
		l.order[path] = len(l.order)
	}
	return path, string(data), true
}

// reportRule reports what is wrong in a file of rules.
func (l *load) reportRule(path, text string, bad *emu.RuleError) {
	d := Diagnostic{
		Pos: Pos{File: path, Line: max(bad.Line, 1), Column: max(bad.Column, 1)}, Rule: "bad-rules",
		Source: newSource(path, text).line(bad.Line),
	}
	d.Message = bad.Msg
	if bad.Word != "" {
		d.Message = quoted(bad.Word) + ": " + bad.Msg
	}
	switch {
	case bad.Near != "":
		d.Hint = fmt.Sprintf("did you mean %q?", bad.Near)
	case bad.Msg == "no such set":
		d.Hint = "sets are loaded from the file that ipset: names, printed by ipset save"
	case strings.Contains(bad.Msg, "IPv6"), strings.Contains(bad.Msg, "nft"):
		d.Hint = "print them with iptables-save, or iptables-nft-save where rules are kept by nft"
	case strings.Contains(bad.Msg, "this emulation has not"):
		d.Hint = "take the rule out, or write it with what podwire knows"
	}
	l.add(d)
}

// load gives a machine its rules.
func (r *Rules) load(m *emu.Machine) error {
	if r.sets != "" {
		if err := m.LoadSets(r.sets); err != nil {
			return at(r.IPSet.Pos, err)
		}
	}
	if r.nft != "" {
		if err := m.LoadNFTables(r.nft); err != nil {
			return at(r.NFTables.Pos, err)
		}
	}
	if r.rules == "" {
		return nil
	}
	if err := m.LoadRules(r.rules); err != nil {
		return at(r.IPTables.Pos, err)
	}
	return nil
}
