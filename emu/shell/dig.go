package shell

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/podwire/podwire/emu/resolv"
)

var digCommand = Command{
	Name:    "dig",
	Usage:   "[@SERVER] [-p PORT] [-x ADDRESS] [-t TYPE] NAME [TYPE] [+short] [+search] [+tcp] [+norecurse] [+noedns] [+time=S] [+tries=N] [+noall] [+answer]",
	Summary: "ask a DNS server, by default without the search list",
	run:     (*call).dig,
}

// digVersion is whose output is followed.
const digVersion = "9.18.28"

// digger is one run of dig.
type digger struct {
	*asking
	server          string
	port            uint16
	name            string
	qtype           uint16
	short, search   bool
	recurse, edns   bool
	hide            map[string]bool // sections not shown
	banner, command string
}

// digSections are the parts of the output that +no turns off, and +noall all of.
var digSections = []string{"cmd", "comments", "question", "answer", "authority", "additional", "stats"}

func (c *call) dig() error {
	d := &digger{asking: c.newAsking(), port: 53, qtype: dns.TypeA, recurse: true, edns: true, hide: map[string]bool{}, command: strings.Join(c.args, " ")}
	if err := d.parse(); err != nil {
		return err
	}
	if d.server != "" {
		if err := d.use(d.server, d.port); err != nil {
			return err
		}
	}
	for i := range d.servers {
		d.servers[i] = netip.AddrPortFrom(d.servers[i].Addr(), d.port)
	}
	if len(d.servers) == 0 {
		return d.fail(10, "no nameserver: the lab has no DNS, or this machine no gateway; name one: @10.96.0.10")
	}
	return d.run()
}

// parse reads the words of dig, which are not getopt's.
func (d *digger) parse() error {
	reverse := ""
	for i := 0; i < len(d.args); i++ {
		w := d.args[i]
		next := func() string {
			if i++; i < len(d.args) {
				return d.args[i]
			}
			return ""
		}
		switch {
		case strings.HasPrefix(w, "@"):
			d.server = w[1:]
		case strings.HasPrefix(w, "+"):
			if err := d.plus(w[1:]); err != nil {
				return err
			}
		case w == "-x":
			reverse = next()
		case w == "-p":
			n, err := strconv.ParseUint(next(), 10, 16)
			if err != nil || n == 0 {
				return d.misused("-p takes a port")
			}
			d.port = uint16(n)
		case w == "-t":
			if d.qtype = dns.StringToType[strings.ToUpper(next())]; d.qtype == 0 {
				return d.misused("-t %s: unknown type", d.args[min(i, len(d.args)-1)])
			}
		case w == "-q":
			d.name = next()
		case w == "-4" || strings.EqualFold(w, "IN"):
		case w == "-h" || w == "--help":
			d.printf("usage: %s %s\n", d.call.name, d.usage)
			return &ExitError{0}
		case strings.HasPrefix(w, "-"):
			return d.misused("unknown option %s", w)
		case dns.StringToType[strings.ToUpper(w)] != 0 && (d.name != "" || slices.Contains([]string{"A", "AAAA", "SRV", "PTR", "SOA", "NS", "CNAME", "TXT", "ANY"}, strings.ToUpper(w))):
			d.qtype = dns.StringToType[strings.ToUpper(w)]
		case d.name != "":
			return d.misused("found a second name, %s, want one", w)
		default:
			d.name = w
		}
	}
	if reverse != "" {
		arpa := resolv.Reverse(reverse)
		if arpa == reverse {
			return d.misused("-x %s: want an IP address", reverse)
		}
		d.name, d.qtype = arpa, dns.TypePTR
	}
	if d.name == "" {
		d.name, d.qtype = ".", dns.TypeNS
	}
	if _, ok := dns.IsDomainName(d.name); !ok {
		return d.fail(10, "'%s' is not a legal name (empty label)", d.name)
	}
	return nil
}

// plus reads an option that begins with a plus.
func (d *digger) plus(w string) error {
	key, value, _ := strings.Cut(w, "=")
	on := true
	if after, ok := strings.CutPrefix(key, "no"); ok {
		key, on = after, false
	}
	number := func(most int) (int, bool) {
		n, err := strconv.Atoi(value)
		return n, err == nil && n > 0 && n <= most
	}
	switch key {
	case "short":
		d.short = on
	case "search":
		d.search = on
	case "tcp", "vc":
		d.tcp = on
	case "recurse", "rec", "rdflag":
		d.recurse = on
	case "edns":
		d.edns = on
	case "all":
		for _, s := range digSections {
			d.hide[s] = !on
		}
	case "time", "timeout":
		n, ok := number(30)
		if !ok {
			return d.misused("+time takes 1 to 30 seconds")
		}
		d.timeout = time.Duration(n) * time.Second
	case "tries", "retry":
		n, ok := number(10)
		if !ok {
			return d.misused("+tries takes 1 to 10")
		}
		d.tries = n
	default:
		if !slices.Contains(digSections, key) {
			return d.misused("unknown option +%s", w)
		}
		d.hide[key] = !on
	}
	return nil
}

// run asks for the name, or with +search for the candidates, and prints the last
// answer.
func (d *digger) run() error {
	names := []string{dns.Fqdn(d.name)}
	if d.search {
		r := d.m.Resolver()
		names = r.Candidates(d.name)
	}
	if len(d.hide) == 0 && !d.short || !d.hide["cmd"] && !d.short {
		d.banner = fmt.Sprintf("\n; <<>> DiG %s <<>> %s\n;; global options: +cmd\n", digVersion, d.command)
	}
	for i, name := range names {
		q := d.question(name)
		m, from, took := d.ask(q)
		if m == nil {
			if !d.short {
				d.printf("%s;; no servers could be reached\n", d.banner)
			}
			return &ExitError{9}
		}
		if m.Rcode == dns.RcodeNameError && i < len(names)-1 {
			continue
		}
		d.print(m, from, took)
		return nil
	}
	return nil
}

// question is what dig sends: EDNS with 1232 bytes and a cookie, AD set (RFC 6891,
// 7873, 6840).
func (d *digger) question(name string) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name, d.qtype)
	r := d.m.Resolver()
	q.Id, q.RecursionDesired, q.AuthenticatedData = r.Network.QueryID(), d.recurse, true
	if d.edns {
		q.SetEdns0(1232, false)
		cookie := fmt.Sprintf("%04x%04x%04x%04x", r.Network.QueryID(), r.Network.QueryID(), r.Network.QueryID(), r.Network.QueryID())
		q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	}
	return q
}

// print writes an answer in dig's form.
func (d *digger) print(m *dns.Msg, from netip.AddrPort, took time.Duration) {
	if d.short {
		for _, rr := range m.Answer {
			d.printf("%s\n", rdata(rr))
		}
		return
	}
	d.printf("%s", d.banner)
	if !d.hide["comments"] {
		d.printf(";; Got answer:\n%s", digHeader(m))
		if m.RecursionDesired && !m.RecursionAvailable {
			d.printf(";; WARNING: recursion requested but not available\n")
		}
		d.printf("\n")
		if o := m.IsEdns0(); o != nil {
			flags := ""
			if o.Do() {
				flags = " do"
			}
			d.printf(";; OPT PSEUDOSECTION:\n; EDNS: version: %d, flags:%s; udp: %d\n", o.Version(), flags, o.UDPSize())
			for _, opt := range o.Option {
				if k, ok := opt.(*dns.EDNS0_COOKIE); ok {
					d.printf("; COOKIE: %s%s\n", k.Cookie, cookieWord(k.Cookie))
				}
			}
		}
	}
	if !d.hide["question"] {
		d.heading("QUESTION SECTION")
		for _, q := range m.Question {
			d.printf("%s\n", columns(";"+q.Name, "", "IN", dns.TypeToString[q.Qtype], ""))
		}
		d.printf("\n")
	}
	d.section("answer", "ANSWER SECTION", m.Answer)
	d.section("authority", "AUTHORITY SECTION", m.Ns)
	d.section("additional", "ADDITIONAL SECTION", slices.DeleteFunc(slices.Clone(m.Extra), func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT }))
	if !d.hide["stats"] {
		proto := "UDP"
		if d.tcp {
			proto = "TCP"
		}
		d.printf(";; Query time: %d msec\n;; SERVER: %s(%v) (%s)\n;; WHEN: %s\n;; MSG SIZE  rcvd: %d\n\n", took.Milliseconds(), hashed(from), from.Addr(), proto,
			d.lab.Driver().Epoch().Add(d.lab.Now()).UTC().Format("Mon Jan 02 15:04:05 MST 2006"), m.Len())
	}
}

func (d *digger) heading(title string) {
	if !d.hide["comments"] {
		d.printf(";; %s:\n", title)
	}
}

func (d *digger) section(key, title string, list []dns.RR) {
	if len(list) == 0 || d.hide[key] {
		return
	}
	d.heading(title)
	for _, rr := range list {
		h := rr.Header()
		d.printf("%s\n", columns(h.Name, strconv.Itoa(int(h.Ttl)), dns.ClassToString[h.Class], dns.TypeToString[h.Rrtype], rdata(rr)))
	}
	if !d.hide["comments"] {
		d.printf("\n")
	}
}

// cookieWord says what a cookie in an answer is worth: the client's 8 bytes alone are
// what was sent (RFC 7873 §5.2).
func cookieWord(cookie string) string {
	if len(cookie) == 16 {
		return " (echoed)"
	}
	return " (good)"
}

// digHeader is the header of a message.
func digHeader(m *dns.Msg) string {
	flags := ""
	for _, f := range []struct {
		on   bool
		name string
	}{{m.Response, "qr"}, {m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"}, {m.AuthenticatedData, "ad"}, {m.CheckingDisabled, "cd"}} {
		if f.on {
			flags += " " + f.name
		}
	}
	return fmt.Sprintf(";; ->>HEADER<<- opcode: %s, status: %s, id: %d\n;; flags:%s; QUERY: %d, ANSWER: %d, AUTHORITY: %d, ADDITIONAL: %d\n",
		dns.OpcodeToString[m.Opcode], dns.RcodeToString[m.Rcode], m.Id, flags, len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra))
}

// columns lays a record out as BIND does, with tabs: the time at column 24, the
// class at 32, the type at 40, the data at 48; what is too long moves the rest by
// one column.
func columns(name, ttl, class, rrtype, data string) string {
	var b strings.Builder
	at := 0
	for i, word := range []string{name, ttl, class, rrtype, data} {
		if word == "" {
			continue
		}
		if to := []int{0, 24, 32, 40, 48}[i]; i > 0 {
			to = max(to, at+1)
			for at/8 < to/8 {
				b.WriteByte('\t')
				at = at/8*8 + 8
			}
			for ; at < to; at++ {
				b.WriteByte(' ')
			}
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}
