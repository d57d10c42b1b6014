package emu

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/stack/conntrack"
	"github.com/podwire/podwire/stack/netfilter"
)

// Timeouts that kube-proxy sets on its node (--conntrack-tcp-timeout-established,
// --conntrack-tcp-timeout-close-wait).
const (
	kubeEstablished = 24 * 60 * 60 * 1e9
	kubeCloseWait   = 60 * 60 * 1e9
)

// startProxy starts kube-proxy on a node.
func (l *Lab) startProxy(n *Node) error {
	proxy, err := kube.NewProxy(kube.ProxyConfig{NodeName: n.name, NodeIP: n.addr, ClusterCIDR: l.cfg.PodCIDR})
	if err != nil {
		return err
	}
	n.proxy = proxy
	switch l.cfg.Proxy {
	case ProxyNFTables:
		l.syncNFT(n, &nftCache{})
		return n.load(kube.KubeletRules())
	case ProxyIPVS:
		return l.startIPVS(n)
	}
	if err := n.load(proxy.Sync(l.cluster)); err != nil {
		return err
	}
	return n.load(kube.Jumps())
}

// load is iptables-restore --noflush.
func (n *Node) load(text string) error {
	script, err := netfilter.Parse(text)
	if err != nil {
		return fmt.Errorf("emu: %s: %w", n.name, err)
	}
	return n.apply(script)
}

func (n *Node) apply(script *netfilter.Script) error {
	if err := n.stack.Netfilter().Apply(script, netfilter.RestoreOptions{NoFlush: true}); err != nil {
		return fmt.Errorf("emu: %s: %w", n.name, err)
	}
	n.stack.RulesChanged()
	return nil
}

// hashSeed is for comparing texts within this process only.
var hashSeed = maphash.MakeSeed()

// mustParse parses rules that podwire wrote itself.
func mustParse(text string) *netfilter.Script {
	script, err := netfilter.Parse(text)
	if err != nil {
		panic(err)
	}
	return script
}

// objectsChanged notes that Services or endpoints have changed. Rules follow
// before the next packet, or when the proxies' delay has passed: a burst of
// changes costs one sync. Hosts without Kubernetes have none. The caller holds
// the lock.
func (l *Lab) objectsChanged() {
	l.changed = l.drv.Now()
	switch {
	case l.stale, l.design.Standalone:
		return
	case l.cfg.ProxySyncDelay > 0:
		l.drv.AfterFunc(l.source, l.cfg.ProxySyncDelay, l.syncLocked)
	default:
		l.drv.Soon(l.syncLocked)
	}
	l.stale = true
}

// syncRules brings the rules up to date before a machine acts, unless it is to
// see them late.
func (l *Lab) syncRules() {
	if l.cfg.ProxySyncDelay > 0 {
		return
	}
	opening := false
	l.drv.Do(func() {
		l.syncLocked()
		opening = slices.ContainsFunc(l.nodes, func(n *Node) bool { return n.health.busy })
	})
	if opening {
		l.drv.Sleep(0)
	}
}

func (l *Lab) syncLocked() {
	if !l.stale || l.closed {
		return
	}
	l.stale = false
	var rules ruleCache
	var tables nftCache
	for _, n := range l.nodes {
		n.syncHealth()
		switch {
		case n.ownProxy:
		case l.cfg.Proxy == ProxyNFTables:
			l.syncNFT(n, &tables)
		case n.ipvs != nil:
			l.syncIPVS(n)
		default:
			l.syncRulesOf(n, &rules)
		}
	}
	l.dropStaleUDP()
	l.syncSockets()
	l.elect()
}

// ruleCache is the text that was parsed last: most nodes have the same.
type ruleCache struct {
	text   string
	script *netfilter.Script
}

// syncRulesOf is a sync of a node's iptables rules. The caller holds the lock.
func (l *Lab) syncRulesOf(n *Node, last *ruleCache) {
	next := n.proxy.Sync(l.cluster)
	sum := maphash.String(hashSeed, next)
	if sum == n.rules {
		return // nothing has changed for this node
	}
	n.rules = sum
	if next != last.text {
		last.text, last.script = next, mustParse(next)
	}
	if err := n.apply(last.script); err != nil {
		panic(err) // podwire wrote these rules
	}
}

// dropStaleUDP is kube-proxy's clean-up after endpoints have changed: UDP
// flows to a backend that is gone would otherwise stick to it.
func (l *Lab) dropStaleUDP() {
	fronts := l.cluster.UDPFrontends()
	for _, n := range l.nodes {
		n.stack.Conntrack().Delete(l.drv.Now(), func(e *conntrack.Entry) bool {
			o, r := e.Tuple(conntrack.Original), e.Tuple(conntrack.Reply)
			return o.Proto == 17 && kube.StaleUDP(fronts, netip.AddrPortFrom(o.Dst, o.DstPort), r.Src)
		})
	}
}
