package shell

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/podwire/podwire/stack"
)

var ipCommand = Command{
	Name:    "ip",
	Usage:   "[-j] [-br] {addr|link|route|neigh} [show|add|del|replace|set|get] ...",
	Summary: "addresses, devices, routes and neighbours, as iproute2",
	run:     (*call).ip,
}

// iproute is one run of ip or bridge: the words that are left, and how to print.
type iproute struct {
	*call
	words []string
	json  bool
	brief bool
}

// ip reads the options in front of the object, and hands over.
func (c *call) ip() error {
	p := &iproute{call: c, words: c.args}
	if err := p.options("-br", "-brief"); err != nil {
		return err
	}
	switch object := p.next(); {
	case object == "":
		return c.misused("found no object")
	case abbreviates(object, "address") || object == "addr":
		return p.addr()
	case abbreviates(object, "link"):
		return p.link()
	case abbreviates(object, "route"):
		return p.route()
	case abbreviates(object, "neighbor") || abbreviates(object, "neighbour"):
		return p.neigh()
	default:
		fmt.Fprintf(c.Err, "Object \"%s\" is unknown, want addr, link, route or neigh.\n", object)
		return &ExitError{1}
	}
}

// options takes -4 and -j, and those that are a way of printing in brief.
func (p *iproute) options(brief ...string) error {
	for len(p.words) > 0 && strings.HasPrefix(p.words[0], "-") {
		switch o := p.next(); {
		case o == "-j" || o == "-json":
			p.json = true
		case o == "-4":
		case len(brief) > 0 && (o == brief[0] || o == brief[1]):
			p.brief = true
		default:
			return p.misused("option %q is not known", o)
		}
	}
	return nil
}

// abbreviates reports whether word is a beginning of full, as iproute2 takes it.
func abbreviates(word, full string) bool { return word != "" && strings.HasPrefix(full, word) }

// next takes the next word, "" when there is none.
func (p *iproute) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

// verb takes the next word if it abbreviates one of the verbs; without a word
// it is the first of them.
func (p *iproute) verb(verbs ...string) (string, error) {
	if len(p.words) == 0 {
		return verbs[0], nil
	}
	for _, v := range verbs {
		if abbreviates(p.words[0], v) || v == "del" && abbreviates(p.words[0], "delete") || v == "show" && p.words[0] == "list" {
			p.next()
			return v, nil
		}
	}
	if p.words[0] == "dev" {
		return verbs[0], nil
	}
	fmt.Fprintf(p.Err, "Command \"%s\" is unknown, want one of %s.\n", p.words[0], strings.Join(verbs, ", "))
	return "", &ExitError{1}
}

// keywords reads pairs of a keyword and its value. A word that is none of them is
// bare; only the first may be.
func (p *iproute) keywords(known ...string) (map[string]string, error) {
	values := map[string]string{}
	for len(p.words) > 0 {
		w := p.next()
		switch {
		case w == "onlink" || w == "permanent" || w == "up" || w == "down":
			values[w] = w
		case contains(known, w):
			if len(p.words) == 0 {
				return nil, p.failed(255, "argument %q needs a value", w)
			}
			values[w] = p.next()
		case values[""] == "" && contains(known, ""):
			values[""] = w
		default:
			return nil, p.failed(255, "either %q is duplicate, or %q is a garbage.", w, w)
		}
	}
	return values, nil
}

func contains(list []string, w string) bool {
	for _, x := range list {
		if x == w {
			return true
		}
	}
	return false
}

// failed prints an error of iproute2 itself.
func (p *iproute) failed(code int, format string, args ...any) error {
	fmt.Fprintf(p.Err, "Error: %s\n", fmt.Sprintf(format, args...))
	return &ExitError{code}
}

// refused prints an error of the kernel.
func (p *iproute) refused(text string) error {
	fmt.Fprintf(p.Err, "RTNETLINK answers: %s\n", text)
	return &ExitError{2}
}

// device finds the device of that name.
func (p *iproute) device(name string) (*stack.Device, error) {
	var d *stack.Device
	p.do(func() { d = p.host.Device(name) })
	if d == nil {
		fmt.Fprintf(p.Err, "Cannot find device \"%s\"\n", name)
		return nil, &ExitError{1}
	}
	return d, nil
}

// write prints a JSON value as iproute2 does with -j.
func (p *iproute) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return p.failed(1, "%v", err)
	}
	p.printf("%s\n", b)
	return nil
}

// flags are those of a device, in the order of ip link.
func flags(d *stack.Device) []string {
	var f []string
	switch {
	case d.Loopback():
		f = append(f, "LOOPBACK")
	case d.Kind() == "tun":
		f = append(f, "POINTOPOINT", "MULTICAST")
	case d.Kind() == "wireguard":
		f = append(f, "POINTOPOINT")
	case d.Kind() == "dummy":
		f = append(f, "BROADCAST")
	case !d.MAC.IsZero():
		f = append(f, "BROADCAST", "MULTICAST")
	}
	if d.NoARP() {
		f = append(f, "NOARP")
	}
	if d.Up() {
		f = append(f, "UP", "LOWER_UP")
	}
	return f
}

// operState is the state that ip link prints: lo and tunnels do not know theirs.
func operState(d *stack.Device) string {
	switch {
	case !d.Up():
		return "DOWN"
	case d.Loopback() || d.FDB() != nil || d.MAC.IsZero():
		return "UNKNOWN"
	}
	return "UP"
}

func linkType(d *stack.Device) string {
	switch {
	case d.Loopback():
		return "loopback"
	case d.Kind() == "ipip":
		return "ipip"
	case d.MAC.IsZero():
		return "none"
	}
	return "ether"
}

// anyAddr writes an address, and the zero value as 0.0.0.0.
func anyAddr(a netip.Addr) string {
	if !a.IsValid() {
		return "0.0.0.0"
	}
	return a.String()
}

// linkJSON is an element of `ip -j link`.
type linkJSON struct {
	Index     int        `json:"ifindex"`
	Name      string     `json:"ifname"`
	Flags     []string   `json:"flags"`
	MTU       int        `json:"mtu"`
	Qdisc     string     `json:"qdisc"`
	Master    string     `json:"master,omitempty"`
	State     string     `json:"operstate"`
	Group     string     `json:"group"`
	Type      string     `json:"link_type"`
	Address   string     `json:"address,omitempty"`
	Broadcast string     `json:"broadcast,omitempty"`
	Addrs     []addrJSON `json:"addr_info,omitempty"`
}

// addrJSON is an address in `ip -j addr`.
type addrJSON struct {
	Family    string `json:"family"`
	Local     string `json:"local"`
	PrefixLen int    `json:"prefixlen"`
	Broadcast string `json:"broadcast,omitempty"`
	Scope     string `json:"scope"`
	Secondary bool   `json:"secondary,omitempty"`
	Label     string `json:"label"`
}

// describeLink reads a device. The caller holds the driver's lock.
func describeLink(d *stack.Device) linkJSON {
	l := linkJSON{
		Index: d.Index, Name: d.Name, Flags: flags(d), MTU: d.MTU, Qdisc: "noqueue", State: operState(d), Group: "default",
		Type: linkType(d),
	}
	if m := d.Master(); m != nil {
		l.Master = m.Name
	}
	if d.Kind() == "dummy" && !d.Up() { // kube-ipvs0, which nobody ever brings up
		l.Qdisc = "noop"
	}
	switch l.Type {
	case "ether":
		l.Address, l.Broadcast = d.MAC.String(), "ff:ff:ff:ff:ff:ff"
	case "loopback":
		l.Address, l.Broadcast = d.MAC.String(), "00:00:00:00:00:00"
	case "ipip": // its ends; the other one is left to the routes
		l.Address, l.Broadcast = anyAddr(d.Local()), "0.0.0.0"
	}
	for i, a := range d.Addrs() {
		j := addrJSON{Family: "inet", Local: a.Addr().String(), PrefixLen: a.Bits(), Scope: "global", Label: d.Name}
		if d.Loopback() {
			j.Scope = "host"
		} else if a.Bits() < 31 {
			j.Broadcast = stack.LastAddr(a).String()
		}
		for _, before := range d.Addrs()[:i] {
			j.Secondary = j.Secondary || before.Masked() == a.Masked()
		}
		l.Addrs = append(l.Addrs, j)
	}
	return l
}

// text prints the two lines of ip link.
func (l linkJSON) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: %s: <%s> mtu %d qdisc %s ", l.Index, l.Name, strings.Join(l.Flags, ","), l.MTU, l.Qdisc)
	if l.Master != "" {
		fmt.Fprintf(&b, "master %s ", l.Master)
	}
	fmt.Fprintf(&b, "state %s group %s\n    link/%s", l.State, l.Group, l.Type)
	if l.Address != "" {
		fmt.Fprintf(&b, " %s brd %s", l.Address, l.Broadcast)
	}
	return b.String() + "\n"
}

// addrText prints the addresses as ip addr does.
func (l linkJSON) addrText() string {
	var b strings.Builder
	for _, a := range l.Addrs {
		fmt.Fprintf(&b, "    inet %s/%d ", a.Local, a.PrefixLen)
		if a.Broadcast != "" {
			fmt.Fprintf(&b, "brd %s ", a.Broadcast)
		}
		fmt.Fprintf(&b, "scope %s ", a.Scope)
		if a.Secondary {
			b.WriteString("secondary ")
		}
		fmt.Fprintf(&b, "%s\n       valid_lft forever preferred_lft forever\n", a.Label)
	}
	return b.String()
}

// devices reads the devices that are asked for: all, or one.
func (p *iproute) devices(name string) ([]linkJSON, error) {
	var list []linkJSON
	p.do(func() {
		for _, d := range p.host.Devices() {
			if name == "" || d.Name == name {
				list = append(list, describeLink(d))
			}
		}
	})
	if name != "" && len(list) == 0 {
		fmt.Fprintf(p.Err, "Device \"%s\" does not exist.\n", name)
		return nil, &ExitError{1}
	}
	return list, nil
}

// show prints devices, with their addresses or without.
func (p *iproute) show(addrs bool) error {
	v, err := p.keywords("dev", "")
	if err != nil {
		return err
	}
	list, err := p.devices(v["dev"] + v[""])
	if err != nil {
		return err
	}
	if p.json {
		if !addrs {
			for i := range list {
				list[i].Addrs = nil
			}
		}
		return p.write(list)
	}
	for _, l := range list {
		switch {
		case p.brief && addrs:
			var text []string
			for _, a := range l.Addrs {
				text = append(text, a.Local+"/"+strconv.Itoa(a.PrefixLen))
			}
			p.printf("%s\n", strings.TrimRight(fmt.Sprintf("%-16s %-14s %s", l.Name, l.State, strings.Join(text, " ")), " "))
		case p.brief:
			p.printf("%-16s %-14s %s <%s>\n", l.Name, l.State, l.Address, strings.Join(l.Flags, ","))
		default:
			p.printf("%s", l.text())
			if addrs {
				p.printf("%s", l.addrText())
			}
		}
	}
	return nil
}

// addr is ip addr.
func (p *iproute) addr() error {
	verb, err := p.verb("show", "add", "del")
	if err != nil || verb == "show" {
		if err == nil {
			err = p.show(true)
		}
		return err
	}
	v, err := p.keywords("dev", "")
	if err != nil {
		return err
	}
	prefix, perr := netip.ParsePrefix(v[""])
	if a, aerr := netip.ParseAddr(v[""]); aerr == nil {
		prefix, perr = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case perr != nil || !prefix.Addr().Is4():
		return p.failed(1, "any valid prefix is expected rather than %q.", v[""])
	case v["dev"] == "":
		return p.failed(1, "\"dev\" argument is required.")
	}
	d, err := p.device(v["dev"])
	if err != nil {
		return err
	}
	var refused string
	p.do(func() {
		switch {
		case verb == "del" && !d.RemoveAddr(prefix):
			refused = "Cannot assign requested address"
		case verb == "add":
			if err := d.AddAddr(prefix); err != nil {
				refused = "File exists (" + err.Error() + ")"
			}
		}
	})
	if refused != "" {
		return p.refused(refused)
	}
	return nil
}

// link is ip link.
func (p *iproute) link() error {
	verb, err := p.verb("show", "set")
	if err != nil || verb == "show" {
		if err == nil {
			err = p.show(false)
		}
		return err
	}
	v, err := p.keywords("dev", "mtu", "")
	if err != nil {
		return err
	}
	d, err := p.device(v["dev"] + v[""])
	if err != nil {
		return err
	}
	if v["up"]+v["down"]+v["mtu"] == "" || v["up"] != "" && v["down"] != "" {
		return p.failed(255, "want one of up, down and mtu NUMBER")
	}
	if v["mtu"] != "" {
		n, err := strconv.Atoi(v["mtu"])
		if err != nil {
			return p.failed(255, "argument %q is wrong: Invalid \"mtu\" value", v["mtu"])
		}
		p.do(func() { err = d.SetMTU(n) })
		if err != nil {
			return p.refused("Invalid argument (" + err.Error() + ")")
		}
	}
	if v["up"]+v["down"] != "" {
		p.do(func() { d.SetUp(v["up"] != "") })
	}
	return nil
}
