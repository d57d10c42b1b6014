package kube

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// IPVS is what a node has in kube-proxy's ipvs mode.
type IPVS struct {
	// Servers are the virtual servers, in no order that matters.
	Servers []VirtualServer
	// Bind are the addresses that the device kube-ipvs0 holds, ascending.
	Bind []netip.Addr
	// Sets is a text for ipset restore, which fills all sets anew, and Rules one
	// for iptables-restore --noflush; the jumps from the built-in chains are
	// [IPVSJumps].
	Sets, Rules string
}

// VirtualServer is an address and a port that IPVS balances.
type VirtualServer struct {
	Addr       netip.AddrPort
	Protocol   string        // "tcp" or "udp"
	Persistent time.Duration // how long a client keeps its endpoint; 0 is not at all
	Endpoints  []netip.AddrPort
}

// IPVS returns what the node has to have. NodeAddresses of the configuration
// are read in this mode: node ports answer at each of them, or at those within
// NodePortAddresses, loopback excepted.
func (p *Proxy) IPVS(c *Cluster) *IPVS {
	w := &ipvsWriter{Proxy: p, zone: c.zone(p.cfg.NodeName), sets: make(map[string][]string), bound: make(map[netip.Addr]bool)}
	for _, ip := range p.cfg.NodeAddresses {
		if ip.Is4() && !ip.IsLoopback() {
			w.nodeIPs = append(w.nodeIPs, ip)
		}
	}
	if !p.allNodePortAddresses() {
		w.nodeIPs = slices.DeleteFunc(p.nodePortIPs(), netip.Addr.IsLoopback)
	}
	for _, e := range c.entries() {
		if !proxied(e.obj) {
			continue
		}
		ports := c.servicePorts(e)
		for i := range ports {
			w.servicePort(&ports[i])
		}
	}
	for ip := range w.bound {
		w.out.Bind = append(w.out.Bind, ip)
		w.add(setIPVSIPs, ip.String())
	}
	slices.SortFunc(w.out.Bind, netip.Addr.Compare)
	w.out.Sets, w.out.Rules = w.setText(), w.rules()
	return &w.out
}

// The sets of kube-proxy.
const (
	setLoopBack    = "KUBE-LOOP-BACK"
	setClusterIP   = "KUBE-CLUSTER-IP"
	setExternal    = "KUBE-EXTERNAL-IP"
	setExternalLoc = "KUBE-EXTERNAL-IP-LOCAL"
	setBalancer    = "KUBE-LOAD-BALANCER"
	setBalancerFW  = "KUBE-LOAD-BALANCER-FW"
	setBalancerLoc = "KUBE-LOAD-BALANCER-LOCAL"
	setSourceIP    = "KUBE-LOAD-BALANCER-SOURCE-IP"
	setSourceCIDR  = "KUBE-LOAD-BALANCER-SOURCE-CIDR"
	setHealth      = "KUBE-HEALTH-CHECK-NODE-PORT"
	setIPVSIPs     = "KUBE-IPVS-IPS"
)

// ipsets are all sets with their types.
var ipsets = []struct{ name, typ string }{
	{setLoopBack, "hash:ip,port,ip"}, {setClusterIP, "hash:ip,port"}, {setExternal, "hash:ip,port"}, {setExternalLoc, "hash:ip,port"},
	{setBalancer, "hash:ip,port"}, {setBalancerFW, "hash:ip,port"}, {setBalancerLoc, "hash:ip,port"}, {setSourceIP, "hash:ip,port,ip"},
	{setSourceCIDR, "hash:ip,port,net"}, {"KUBE-NODE-PORT-TCP", "bitmap:port"}, {"KUBE-NODE-PORT-LOCAL-TCP", "bitmap:port"},
	{"KUBE-NODE-PORT-UDP", "bitmap:port"}, {"KUBE-NODE-PORT-LOCAL-UDP", "bitmap:port"}, {setHealth, "bitmap:port"}, {setIPVSIPs, "hash:ip"},
}

// ipvsWriter collects what a node has.
type ipvsWriter struct {
	*Proxy
	zone    string
	nodeIPs []netip.Addr
	out     IPVS
	sets    map[string][]string
	bound   map[netip.Addr]bool
}

func (w *ipvsWriter) add(set, entry string) { w.sets[set] = append(w.sets[set], entry) }

func (w *ipvsWriter) servicePort(sp *servicePort) {
	u := categorize(sp, w.cfg.NodeName, w.zone)
	// A Local policy without local endpoints falls back on all: pods of this node
	// are served, and replies to others are lost (kubernetes#97081).
	local := u.local
	if len(local) == 0 {
		local = u.cluster
	}
	if len(local) == 0 && sp.internalLocal() {
		local = clusterEndpoints(sp)
	}
	internal, external := u.cluster, u.cluster
	if sp.internalLocal() {
		internal = local
	}
	if sp.externalLocal() {
		external = local
	}
	port := sp.protocol + ":" + portText(sp.spec.Port)
	for i := range sp.endpoints {
		if ep := &sp.endpoints[i]; ep.Addr.Addr().Is4() && ep.Node == w.cfg.NodeName && ep.Node != "" {
			w.add(setLoopBack, ep.ip+","+sp.protocol+":"+portText(int32(ep.Addr.Port()))+","+ep.ip)
		}
	}
	w.add(setClusterIP, sp.svc.Spec.ClusterIP+","+port)
	w.server(sp, sp.svc.Spec.ClusterIP, sp.spec.Port, internal, true)
	for _, ip := range sp.externalIPs {
		set := setExternal
		if sp.externalLocal() {
			set = setExternalLoc
		}
		w.add(set, ip+","+port)
		w.server(sp, ip, sp.spec.Port, external, true)
	}
	for _, ip := range sp.vips {
		w.balancer(sp, ip, port)
		w.server(sp, ip, sp.spec.Port, external, true)
	}
	w.nodePort(sp, external)
	if p := sp.healthCheckNodePort(); p != 0 {
		w.add(setHealth, portText(p))
	}
}

// clusterEndpoints are the endpoints that are ready anywhere.
func clusterEndpoints(sp *servicePort) []*Endpoint {
	return filter(ipv4(sp.endpoints), func(e *Endpoint) bool { return e.Ready })
}

// balancer notes the address of a load balancer, and who may use it.
func (w *ipvsWriter) balancer(sp *servicePort, ip, port string) {
	w.add(setBalancer, ip+","+port)
	if sp.externalLocal() {
		w.add(setBalancerLoc, ip+","+port)
	}
	if len(sp.sources) == 0 {
		return
	}
	w.add(setBalancerFW, ip+","+port)
	fromNode := false
	for _, source := range sp.sources {
		w.add(setSourceCIDR, ip+","+port+","+source.String())
		fromNode = fromNode || source.Contains(w.cfg.NodeIP)
	}
	if fromNode {
		w.add(setSourceIP, ip+","+port+","+ip)
	}
}

func (w *ipvsWriter) nodePort(sp *servicePort, eps []*Endpoint) {
	if sp.spec.NodePort == 0 || len(w.nodeIPs) == 0 {
		return
	}
	proto := strings.ToUpper(sp.protocol)
	w.add("KUBE-NODE-PORT-"+proto, portText(sp.spec.NodePort))
	if sp.externalLocal() {
		w.add("KUBE-NODE-PORT-LOCAL-"+proto, portText(sp.spec.NodePort))
	}
	for _, ip := range w.nodeIPs {
		w.server(sp, ip.String(), sp.spec.NodePort, eps, false)
	}
}

// server notes a virtual server; bind says that its address is to be the node's,
// which it may be already.
func (w *ipvsWriter) server(sp *servicePort, ip string, port int32, eps []*Endpoint, bind bool) {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return
	}
	v := VirtualServer{Addr: netip.AddrPortFrom(a, uint16(port)), Protocol: sp.protocol, Persistent: time.Duration(sp.affinitySeconds()) * time.Second}
	for _, ep := range eps {
		v.Endpoints = append(v.Endpoints, ep.Addr)
	}
	w.out.Servers = append(w.out.Servers, v)
	if bind && !slices.Contains(w.cfg.NodeAddresses, a) {
		w.bound[a] = true
	}
}

func (w *ipvsWriter) setText() string {
	var b lines
	for _, s := range ipsets {
		b.add("create -exist", s.name, s.typ)
		b.add("flush", s.name)
		for _, entry := range w.sets[s.name] {
			b.add("add -exist", s.name, entry)
		}
	}
	return string(b)
}
