package emu

import (
	"errors"

	"github.com/podwire/podwire/stack/netfilter"
)

// LoadRules loads what iptables-save has printed on a real machine, as
// iptables-restore does: tables that the text names are replaced, others stay.
// Counters in the text are taken over. The error is a *RuleError with
// line and column; it changes nothing. Sets that rules name are loaded first,
// with LoadSets.
//
// On a node whose text has kube-proxy's chains, the emulated kube-proxy stops:
// the rules are those of the real one.
func (m *Machine) LoadRules(text string) error {
	script, err := netfilter.Parse(text)
	if err != nil {
		return err
	}
	m.lab.drv.Do(func() {
		r := m.stack.Netfilter()
		if err = r.Apply(script, netfilter.RestoreOptions{Counters: true}); err != nil {
			return
		}
		m.stack.RulesChanged()
		if script.Has(netfilter.NAT, "KUBE-SERVICES") {
			m.ownProxy = true
		}
	})
	return err
}

// LoadSets loads what ipset save has printed. Sets that exist already are
// filled anew; one of another type is an error.
func (m *Machine) LoadSets(text string) error {
	var err error
	m.lab.drv.Do(func() { err = m.stack.Netfilter().RestoreSets(text) })
	return err
}

// SaveRules returns the machine's rules as iptables-save prints them, with
// counters as with its option -c. It is what LoadRules reads.
func (m *Machine) SaveRules(counters bool) string {
	var text string
	m.lab.syncRules()
	m.lab.drv.Do(func() {
		if counters {
			text = m.stack.Netfilter().SaveCounters()
		} else {
			text = m.stack.Netfilter().Save()
		}
	})
	return text
}

// SaveSets returns the machine's sets as ipset save prints them.
func (m *Machine) SaveSets() string {
	var text string
	m.lab.drv.Do(func() { text = m.stack.Netfilter().SaveSets() })
	return text
}

// A RuleError says what is wrong in rules or sets, and where.
type RuleError = netfilter.Error

// CheckRules reads rules and the sets that they name without a machine. It
// returns what is wrong in the first, or else in the second text.
func CheckRules(sets, rules string) (inSets, inRules *RuleError) {
	r := netfilter.New()
	if errors.As(r.RestoreSets(sets), &inSets) {
		return inSets, nil
	}
	errors.As(r.Restore(rules, netfilter.RestoreOptions{Counters: true}), &inRules)
	return nil, inRules
}
