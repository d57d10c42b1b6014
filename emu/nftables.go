package emu

import (
	"hash/maphash"

	"github.com/podwire/podwire/stack/nftables"
)

// kubeProxyTable is the table of kube-proxy in nftables mode.
const kubeProxyTable = "ip kube-proxy"

// nftCache is the table that was parsed last: most nodes have the same.
type nftCache struct {
	text   string
	tables *nftables.Tables
}

// syncNFT is a sync of a node's table. The caller holds the lock.
func (l *Lab) syncNFT(n *Node, last *nftCache) {
	table, own := n.proxy.NFTables(l.cluster)
	var h maphash.Hash
	h.SetSeed(hashSeed)
	h.WriteString(table)
	h.WriteString(own)
	if h.Sum64() == n.rules {
		return // nothing has changed for this node
	}
	n.rules = h.Sum64()
	if table != last.text || last.tables == nil {
		tables, err := mustParseNFT(table).Tables()
		if err != nil {
			panic(err) // podwire wrote it
		}
		last.text, last.tables = table, tables
	}
	r := n.stack.NFTables()
	r.Replace(last.tables)
	if err := r.Apply(mustParseNFT(own), l.drv.Now()); err != nil {
		panic(err)
	}
	n.stack.RulesChanged()
}

// mustParseNFT parses what podwire wrote itself.
func mustParseNFT(text string) *nftables.Script {
	s, err := nftables.Parse(text)
	if err != nil {
		panic(err)
	}
	return s
}

// LoadNFTables carries out what nft list ruleset has printed on a real machine,
// or commands, as nft -f does: tables are added to those that are there. The
// error is an [*NFTablesError] with line and column; it changes nothing.
//
// On a node whose text has kube-proxy's table, the emulated kube-proxy stops and
// its own table goes: the rules are those of the real one.
func (m *Machine) LoadNFTables(text string) error {
	s, err := nftables.Parse(text)
	if err != nil {
		return err
	}
	own := s.Adds(kubeProxyTable)
	m.lab.drv.Do(func() {
		if own && !m.ownProxy {
			s = s.Afresh(kubeProxyTable)
		}
		if err = m.stack.NFTables().Apply(s, m.lab.drv.Now()); err == nil {
			m.ownProxy = m.ownProxy || own
			m.stack.RulesChanged()
		}
	})
	return err
}

// ListNFTables returns the machine's nf_tables ruleset as nft list ruleset prints
// it. It is what LoadNFTables reads.
func (m *Machine) ListNFTables() string {
	var text string
	m.lab.syncRules()
	m.lab.drv.Do(func() { text = m.stack.NFTables().List(m.lab.drv.Now()) })
	return text
}

// An NFTablesError says what is wrong in an nf_tables text, and where.
type NFTablesError = nftables.Error

// CheckNFTables reads a text without a machine and returns what is wrong in it.
func CheckNFTables(text string) error {
	s, err := nftables.Parse(text)
	if err != nil {
		return err
	}
	return nftables.New().Apply(s, 0)
}
