package emu

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/ipvs"
)

// ipvsDevice is the device that holds the addresses of Services, so that what
// is sent to them is delivered here, where IPVS works.
const ipvsDevice = "kube-ipvs0"

// graceInterval is how often kube-proxy looks whether an endpoint that is to go
// has lost its last connection (rsCheckDeleteInterval).
const graceInterval = time.Minute

// nodeIPVS is kube-proxy's ipvs mode on a node.
type nodeIPVS struct {
	dev   *stack.Device
	sets  string // as loaded last
	rules string
	going map[goingKey]bool // endpoints that have connections left
	timer *link.Timer
}

type goingKey struct {
	service ipvs.Key
	server  netip.AddrPort
}

// checkScheduler wants a scheduler that there is, in the mode that has one.
func (c *Config) checkScheduler() error {
	switch {
	case c.Proxy != ProxyIPVS && c.IPVSScheduler != "":
		return fmt.Errorf("emu: IPVS scheduler %q in proxy mode %s, want mode %s", c.IPVSScheduler, c.Proxy, ProxyIPVS)
	case c.Proxy != ProxyIPVS && c.StrictARP:
		return fmt.Errorf("emu: strict ARP in proxy mode %s, want mode %s", c.Proxy, ProxyIPVS)
	case c.IPVSScheduler != "" && !slices.Contains(ipvs.Schedulers(), c.IPVSScheduler):
		return fmt.Errorf("emu: IPVS scheduler %q is not known, want one of %s", c.IPVSScheduler, strings.Join(ipvs.Schedulers(), ", "))
	}
	return nil
}

// IPVSSchedulers returns the values of Config.IPVSScheduler, the default first.
func IPVSSchedulers() []string { return ipvs.Schedulers() }

// startIPVS makes what kube-proxy in ipvs mode works with.
func (l *Lab) startIPVS(n *Node) error {
	dev, err := n.stack.AddDevice(stack.DeviceConfig{
		Name: ipvsDevice, MAC: link.LocalMAC(n.stack.Rand(ipvsDevice).Uint64()), MTU: 1500, NoARP: true, Kind: "dummy",
		Transmit: func(f *link.Frame) { f.Release() },
	})
	if err != nil {
		return err
	}
	dev.SetUp(false) // its addresses are local all the same
	n.ipvs = &nodeIPVS{dev: dev, going: make(map[goingKey]bool)}
	n.stack.IPVS().Configure(ipvs.Config{ExpireNodestConn: true, ExpireQuiescentTemplate: true})
	if l.cfg.StrictARP {
		for name, value := range map[string]string{"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"} {
			if err := n.stack.SetSysctl(name, value); err != nil {
				return err
			}
		}
	}
	l.syncIPVS(n)
	return n.load(kube.IPVSJumps())
}

// syncIPVS is a sync in ipvs mode. The caller holds the lock.
func (l *Lab) syncIPVS(n *Node) {
	n.proxy.SetNodeAddresses(n.ownAddresses())
	want := n.proxy.IPVS(l.cluster)
	v := n.ipvs
	if want.Sets != v.sets {
		if err := n.stack.Netfilter().RestoreSets(want.Sets); err != nil {
			panic(err) // podwire wrote them
		}
		v.sets = want.Sets
	}
	if want.Rules != v.rules {
		if err := n.apply(mustParse(want.Rules)); err != nil {
			panic(err)
		}
		v.rules = want.Rules
	}
	v.bind(want.Bind)
	n.balance(want.Servers)
	n.stack.RulesChanged()
}

// ownAddresses are those of the node's devices but the one that IPVS has.
func (n *Node) ownAddresses() []netip.Addr {
	var list []netip.Addr
	for _, d := range n.stack.Devices() {
		if d == n.ipvs.dev {
			continue
		}
		for _, p := range d.Addrs() {
			list = append(list, p.Addr())
		}
	}
	return list
}

// bind gives the device its addresses.
func (v *nodeIPVS) bind(want []netip.Addr) {
	have := make(map[netip.Addr]bool)
	for _, p := range v.dev.Addrs() {
		have[p.Addr()] = true
	}
	for _, a := range want {
		if !have[a] {
			v.dev.AddAddr(netip.PrefixFrom(a, 32)) // an address that the node has got since stays there
		}
		delete(have, a)
	}
	for _, p := range slices.Clone(v.dev.Addrs()) {
		if have[p.Addr()] {
			v.dev.RemoveAddr(p)
		}
	}
}

// balance makes the virtual servers what they should be.
func (n *Node) balance(want []kube.VirtualServer) {
	t := n.stack.IPVS()
	wanted := make(map[ipvs.Key]bool, len(want))
	for i := range want {
		w := &want[i]
		cfg := ipvs.ServiceConfig{Addr: w.Addr, Proto: 6, Scheduler: n.lab.cfg.IPVSScheduler, Persistent: w.Persistent}
		if w.Protocol == "udp" {
			cfg.Proto = 17
		}
		k := ipvs.Key{Proto: cfg.Proto, Addr: cfg.Addr}
		wanted[k] = true
		var err error
		if s := t.Service(k); s == nil {
			err = t.AddService(cfg)
		} else if s.Persistent != cfg.Persistent {
			err = t.EditService(cfg)
		}
		if err != nil {
			panic(err)
		}
		n.syncServers(k, w.Endpoints)
	}
	for _, s := range t.Services() {
		if k := (ipvs.Key{Proto: s.Proto, Addr: s.Addr}); !wanted[k] {
			t.DeleteService(k)
		}
	}
}

// syncServers gives a service its endpoints. Those that come back get their
// weight back; those that go do so gracefully.
func (n *Node) syncServers(k ipvs.Key, want []netip.AddrPort) {
	t := n.stack.IPVS()
	have := make(map[netip.AddrPort]bool)
	for _, d := range t.Service(k).Servers() {
		have[d.Addr] = true
	}
	for _, a := range want {
		g := goingKey{k, a}
		switch {
		case !have[a]:
			if err := t.AddServer(k, ipvs.ServerConfig{Addr: a, Weight: 1}); err != nil {
				panic(err)
			}
		case n.ipvs.going[g]:
			delete(n.ipvs.going, g)
			t.SetWeight(k, a, 1)
		}
		delete(have, a)
	}
	for _, d := range slices.Clone(t.Service(k).Servers()) {
		if have[d.Addr] && !n.ipvs.going[goingKey{k, d.Addr}] {
			n.retire(k, d)
		}
	}
}

// retire deletes an endpoint, or, if TCP connections are left, gives it no new
// ones and looks again later (graceful_termination.go).
func (n *Node) retire(k ipvs.Key, d *ipvs.Server) {
	t := n.stack.IPVS()
	t.Advance(n.lab.drv.Now())
	if k.Proto == 17 || d.Active+d.Inactive == 0 {
		t.DeleteServer(k, d.Addr)
		return
	}
	t.SetWeight(k, d.Addr, 0)
	n.ipvs.going[goingKey{k, d.Addr}] = true
	if n.ipvs.timer == nil {
		n.ipvs.timer = n.lab.drv.AfterFunc(n.lab.source, graceInterval, n.reap)
	}
}

// reap deletes the endpoints that have lost their last connection.
func (n *Node) reap() {
	if n.lab.closed {
		return
	}
	t := n.stack.IPVS()
	t.Advance(n.lab.drv.Now())
	for g := range n.ipvs.going {
		s := t.Service(g.service)
		if s == nil {
			delete(n.ipvs.going, g)
			continue
		}
		for _, d := range slices.Clone(s.Servers()) {
			if d.Addr == g.server && d.Active+d.Inactive == 0 {
				t.DeleteServer(g.service, g.server)
				delete(n.ipvs.going, g)
			}
		}
	}
	if len(n.ipvs.going) > 0 {
		n.ipvs.timer.Reset(graceInterval)
	} else {
		n.ipvs.timer = nil
	}
}
