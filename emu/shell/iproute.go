package shell

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// routeJSON is an element of `ip -j route`.
type routeJSON struct {
	Type     string   `json:"type,omitempty"`
	Dst      string   `json:"dst"`
	Gateway  string   `json:"gateway,omitempty"`
	Dev      string   `json:"dev,omitempty"`
	Protocol string   `json:"protocol,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	PrefSrc  string   `json:"prefsrc,omitempty"`
	Metric   int      `json:"metric,omitempty"`
	Flags    []string `json:"flags"`
}

// routeGetJSON is the element of `ip -j route get`: with what is cached.
type routeGetJSON struct {
	routeJSON
	UID     int              `json:"uid"`
	Cache   []string         `json:"cache"`
	Expires int              `json:"expires,omitempty"`
	Metrics []map[string]int `json:"metrics,omitempty"`

	lock bool // of the MTU; iproute2 does not say so in JSON
}

var routeTypes = map[stack.RouteType]string{stack.Blackhole: "blackhole", stack.Unreachable: "unreachable", stack.Prohibit: "prohibit"}

func describeRoute(r stack.Route) routeJSON {
	j := routeJSON{Type: routeTypes[r.Type], Dst: prefixText(r.Dst), Protocol: r.Proto, Metric: r.Metric, Flags: []string{}}
	if r.Via.IsValid() {
		j.Gateway = r.Via.String()
	} else if r.Type == stack.Unicast {
		j.Scope = "link"
	}
	if r.Dev != nil {
		j.Dev = r.Dev.Name
		if !r.Dev.Up() {
			j.Flags = append(j.Flags, "linkdown")
		}
	}
	if r.Src.IsValid() {
		j.PrefSrc = r.Src.String()
	}
	if r.Onlink {
		j.Flags = append(j.Flags, "onlink")
	}
	return j
}

func prefixText(p netip.Prefix) string {
	switch {
	case p.Bits() == 0:
		return "default"
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

// route is ip route.
func (p *iproute) route() error {
	verb, err := p.verb("show", "add", "del", "replace", "get")
	switch {
	case err != nil:
		return err
	case verb == "show":
		return p.showRoutes()
	case verb == "get":
		return p.getRoute()
	}
	r, v, err := p.readRoute()
	if err != nil {
		return err
	}
	var found bool
	p.do(func() {
		switch verb {
		case "add":
			err = p.host.AddRoute(r)
		case "replace":
			err = p.host.ReplaceRoute(r)
		case "del":
			found = p.host.RemoveRoute(r.Dst, func(o stack.Route) bool {
				return (r.Dev == nil || o.Dev == r.Dev) && (!r.Via.IsValid() || o.Via == r.Via) && (v["metric"] == "" || o.Metric == r.Metric)
			})
		}
	})
	switch {
	case verb == "del" && !found:
		return p.refused("No such process")
	case err != nil:
		return p.refused(err.Error())
	}
	return nil
}

// readRoute reads a route as ip route add takes it.
func (p *iproute) readRoute() (r stack.Route, v map[string]string, err error) {
	for t, name := range routeTypes {
		if len(p.words) > 0 && p.words[0] == name {
			p.next()
			r.Type = t
		}
	}
	if v, err = p.keywords("via", "dev", "src", "metric", "proto", ""); err != nil {
		return r, v, err
	}
	if r.Dst, err = parseDst(v[""]); err != nil {
		return r, v, p.failed(1, "any valid prefix is expected rather than %q.", v[""])
	}
	for key, to := range map[string]*netip.Addr{"via": &r.Via, "src": &r.Src} {
		if v[key] == "" {
			continue
		}
		a, err := p.lab.Resolve(v[key])
		if err != nil {
			return r, v, p.failed(1, "any valid address is expected rather than %q.", v[key])
		}
		*to = a
	}
	if v["metric"] != "" {
		if r.Metric, err = strconv.Atoi(v["metric"]); err != nil || r.Metric < 0 {
			return r, v, p.failed(255, "argument %q is wrong: \"metric\" value is invalid", v["metric"])
		}
	}
	r.Onlink, r.Proto = v["onlink"] != "", v["proto"]
	if v["dev"] != "" {
		r.Dev, err = p.device(v["dev"])
		return r, v, err
	}
	if r.Via.IsValid() { // the kernel finds the device
		p.do(func() { _, r.Dev, _ = p.host.Source(r.Via) })
	}
	return r, v, nil
}

// parseDst reads "default", an address or a prefix.
func parseDst(s string) (netip.Prefix, error) {
	if s == "default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		s = a.String() + "/32"
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && (!p.Addr().Is4() || p != p.Masked()) {
		return p, errors.New("not an IPv4 prefix")
	}
	return p, err
}

func (p *iproute) showRoutes() error {
	v, err := p.keywords("dev", "")
	if err != nil {
		return err
	}
	var only netip.Prefix
	if v[""] != "" {
		if only, err = parseDst(v[""]); err != nil {
			return p.failed(1, "any valid prefix is expected rather than %q.", v[""])
		}
	}
	list := []routeJSON{}
	var text []string
	p.do(func() {
		for _, r := range p.host.Routes() {
			if v["dev"] != "" && (r.Dev == nil || r.Dev.Name != v["dev"]) || only.IsValid() && r.Dst != only {
				continue
			}
			j := describeRoute(r)
			list = append(list, j)
			line := r.String()
			if len(j.Flags) > 0 && j.Flags[0] == "linkdown" {
				line += " linkdown"
			}
			text = append(text, line)
		}
	})
	if p.json {
		return p.write(list)
	}
	for _, t := range text {
		p.printf("%s\n", t)
	}
	return nil
}

// getRoute is ip route get: the way that a packet of this host takes.
func (p *iproute) getRoute() error {
	v, err := p.keywords("from", "")
	if err != nil {
		return err
	}
	to, err := p.lab.Resolve(v[""])
	if err != nil {
		return p.failed(1, "any valid address is expected rather than %q.", v[""])
	}
	j := routeGetJSON{routeJSON: routeJSON{Dst: to.String(), Flags: []string{}}, Cache: []string{}}
	var r stack.Route
	var found bool
	p.do(func() {
		src, dev, ok := p.host.Source(to)
		r, found = p.host.LookupRoute(to)
		if !ok {
			return
		}
		found = true
		j.Dev, j.PrefSrc = dev.Name, src.String()
		switch {
		case dev.Loopback():
			j.Type = "local"
		case broadcastOf(dev, to):
			j.Type = "broadcast"
		case r.Via.IsValid():
			j.Gateway = r.Via.String()
		}
		if next := p.host.NextHop(to); next.IsValid() && j.Type == "" {
			j.Gateway = next.String()
		}
		x, _ := p.host.PathException(to)
		j.cached(x)
	})
	switch {
	case !found:
		return p.refused("Network is unreachable")
	case j.Dev == "":
		return p.refused(map[stack.RouteType]string{
			stack.Blackhole: "Invalid argument", stack.Unreachable: "No route to host", stack.Prohibit: "Permission denied",
		}[r.Type])
	}
	if v["from"] != "" {
		j.PrefSrc = v["from"]
	}
	if p.json {
		return p.write([]routeGetJSON{j})
	}
	p.printf("%s\n", j.getText(v["from"]))
	return nil
}

func broadcastOf(d *stack.Device, a netip.Addr) bool {
	for _, p := range d.Addrs() {
		if p.Bits() < 31 && a == stack.LastAddr(p) {
			return true
		}
	}
	return false
}

// cached takes in what routers have said about the way.
func (j *routeGetJSON) cached(x stack.PathException) {
	j.Cache = append(j.Cache, map[string][]string{"local": {"local"}, "broadcast": {"local", "brd"}}[j.Type]...)
	if x.Redirected {
		j.Cache = append(j.Cache, "redirected")
	}
	j.Expires, j.lock = int(x.Expires/time.Second), x.Lock
	if x.MTU > 0 {
		j.Metrics = []map[string]int{{"mtu": x.MTU}}
	}
}

// getText prints the two lines of ip route get.
func (j routeGetJSON) getText(from string) string {
	line, cache := j.Dst, ""
	if j.Type != "" {
		line = j.Type + " " + line
	}
	if len(j.Cache) > 0 {
		cache = " <" + strings.Join(j.Cache, ",") + ">"
	}
	if j.Expires > 0 {
		cache += fmt.Sprintf(" expires %dsec", j.Expires)
	}
	if len(j.Metrics) > 0 {
		lock := ""
		if j.lock {
			lock = "lock "
		}
		cache += fmt.Sprintf(" mtu %s%d", lock, j.Metrics[0]["mtu"])
	}
	if from != "" {
		line += " from " + from
	}
	if j.Gateway != "" {
		line += " via " + j.Gateway
	}
	line += " dev " + j.Dev
	if from == "" {
		line += " src " + j.PrefSrc
	}
	return line + " uid 0\n    cache" + cache
}

// neighJSON is an element of `ip -j neigh`.
type neighJSON struct {
	Dst   string   `json:"dst"`
	Dev   string   `json:"dev"`
	MAC   string   `json:"lladdr,omitempty"`
	State []string `json:"state"`
}

// neigh is ip neigh.
func (p *iproute) neigh() error {
	verb, err := p.verb("show", "replace", "add", "del")
	if err != nil {
		return err
	}
	v, err := p.keywords("dev", "lladdr", "nud", "")
	if err != nil {
		return err
	}
	if verb == "show" {
		return p.showNeigh(v)
	}
	a, aerr := netip.ParseAddr(v[""])
	if aerr != nil {
		return p.failed(1, "any valid address is expected rather than %q.", v[""])
	}
	if v["dev"] == "" {
		return p.failed(1, "Device and destination are required arguments.")
	}
	d, err := p.device(v["dev"])
	if err != nil {
		return err
	}
	if verb == "del" {
		var found bool
		p.do(func() { found = p.host.RemoveNeighbour(d, a) })
		if !found {
			return p.refused("No such file or directory")
		}
		return nil
	}
	mac, err := link.ParseMAC(v["lladdr"])
	if err != nil {
		return p.failed(1, "\"lladdr\" %q: want a MAC address", v["lladdr"])
	}
	if v["nud"] != "" && v["nud"] != "permanent" {
		return p.failed(1, "\"nud\" %q: only permanent entries are made by hand", v["nud"])
	}
	p.do(func() { err = p.host.SetNeighbour(d, a, mac) })
	if err != nil {
		return p.refused(err.Error())
	}
	return nil
}

func (p *iproute) showNeigh(v map[string]string) error {
	list := []neighJSON{}
	p.do(func() {
		for _, n := range p.host.Neighbours() {
			if v["dev"] != "" && n.Dev != v["dev"] || v[""] != "" && n.Addr.String() != v[""] {
				continue
			}
			j := neighJSON{Dst: n.Addr.String(), Dev: n.Dev, State: []string{string(n.State)}}
			if !n.MAC.IsZero() && n.State != stack.NeighIncomplete && n.State != stack.NeighFailed {
				j.MAC = n.MAC.String()
			}
			list = append(list, j)
		}
	})
	if p.json {
		return p.write(list)
	}
	for _, n := range list {
		line := fmt.Sprintf("%s dev %s ", n.Dst, n.Dev)
		if n.MAC != "" {
			line += "lladdr " + n.MAC + " "
		}
		p.printf("%s%s\n", line, n.State[0])
	}
	return nil
}
