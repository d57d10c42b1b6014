package shell

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/podwire/podwire/emu/resolv"
)

var nslookupCommand = Command{
	Name: "nslookup", Usage: "[-type=TYPE] NAME [SERVER]", Summary: "look a name or an address up in DNS, below the search list too",
	run: (*call).nslookup,
}

// nslookup asks for addresses, A and then AAAA, or for records of the type given.
func (c *call) nslookup() error {
	types := []uint16{dns.TypeA, dns.TypeAAAA}
	var args []string
	for _, w := range c.args {
		key, value, ok := strings.Cut(strings.TrimPrefix(w, "-"), "=")
		switch {
		case !strings.HasPrefix(w, "-"):
			args = append(args, w)
		case ok && (key == "type" || key == "querytype" || key == "query" || key == "q" || key == "ty") && dns.StringToType[strings.ToUpper(value)] != 0:
			types = []uint16{dns.StringToType[strings.ToUpper(value)]}
		default:
			return c.misused("unknown option %s", w)
		}
	}
	if len(args) != 1 && len(args) != 2 {
		return c.misused("found %d names, want one, and perhaps a server", len(args))
	}
	a := c.newAsking()
	if len(args) == 2 {
		if err := a.use(args[1], 53); err != nil {
			return err
		}
	}
	if len(a.servers) == 0 {
		return c.fail(1, "no nameserver: the lab has no DNS, or this machine no gateway; name one: nslookup %s 10.96.0.10", args[0])
	}
	name := args[0]
	if arpa := resolv.Reverse(name); arpa != name {
		name, types = arpa, []uint16{dns.TypePTR}
	}
	return c.nslookupName(a, name, types)
}

func (c *call) nslookupName(a *asking, name string, types []uint16) error {
	names := c.m.Resolver().Candidates(name)
	for i := 0; i < len(names); i++ {
		m, from, _ := a.ask(c.plainQuestion(names[i], types[0]))
		if m == nil {
			c.printf(";; no servers could be reached\n\n")
			return &ExitError{1}
		}
		if m.Rcode == dns.RcodeNameError && i < len(names)-1 {
			continue
		}
		c.printf("Server:\t\t%v\nAddress:\t%s\n\n", from.Addr(), hashed(from))
		if m.Rcode != dns.RcodeSuccess {
			c.printf("** server can't find %s: %s\n\n", bare(names[i]), dns.RcodeToString[m.Rcode])
			return &ExitError{1}
		}
		if !m.Authoritative {
			c.printf("Non-authoritative answer:\n")
		}
		if len(m.Answer) == 0 {
			c.printf("*** Can't find %s: No answer\n", bare(names[i]))
		}
		c.nslookupRecords(m)
		for _, t := range types[1:] {
			if more, _, _ := a.ask(c.plainQuestion(names[i], t)); more != nil {
				more.Answer = addresses(more.Answer) // the alias has been shown
				c.nslookupRecords(more)
			}
		}
		c.printf("\n")
		return nil
	}
	return nil
}

func addresses(list []dns.RR) (out []dns.RR) {
	for _, rr := range list {
		if t := rr.Header().Rrtype; t == dns.TypeA || t == dns.TypeAAAA {
			out = append(out, rr)
		}
	}
	return out
}

// nslookupRecords writes records as nslookup words them.
func (c *call) nslookupRecords(m *dns.Msg) {
	for _, rr := range m.Answer {
		name := bare(rr.Header().Name)
		switch rr := rr.(type) {
		case *dns.A, *dns.AAAA:
			c.printf("Name:\t%s\nAddress: %s\n", name, rdata(rr))
		case *dns.CNAME:
			c.printf("%s\tcanonical name = %s\n", name, rr.Target)
		case *dns.PTR:
			c.printf("%s\tname = %s\n", name, rr.Ptr)
		case *dns.SRV:
			c.printf("%s\tservice = %s\n", name, rdata(rr))
		case *dns.TXT:
			c.printf("%s\ttext = %s\n", name, rdata(rr))
		case *dns.NS:
			c.printf("%s\tnameserver = %s\n", name, rr.Ns)
		case *dns.SOA:
			c.printf("%s\n\torigin = %s\n\tmail addr = %s\n\tserial = %d\n\trefresh = %d\n\tretry = %d\n\texpire = %d\n\tminimum = %d\n",
				name, bare(rr.Ns), bare(rr.Mbox), rr.Serial, rr.Refresh, rr.Retry, rr.Expire, rr.Minttl)
		default:
			c.printf("%s\trdata_%d = %s\n", name, rr.Header().Rrtype, rdata(rr))
		}
	}
}

// plainQuestion is a question without EDNS.
func (c *call) plainQuestion(name string, qtype uint16) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.Id = c.m.Resolver().Network.QueryID()
	return q
}

var getentCommand = Command{
	Name: "getent", Usage: "hosts|ahosts|ahostsv4 NAME...", Summary: "look names up as programs do, by the C library",
	run: (*call).getent,
}

// getent looks names up, or for hosts the name of an address.
func (c *call) getent() error {
	if len(c.args) < 2 {
		return c.misused("found %d arguments, want a database and a name", len(c.args))
	}
	db := c.args[0]
	if db != "hosts" && db != "ahosts" && db != "ahostsv4" {
		return &ExitError{1} // as getent, which knows more databases, for one it does not know
	}
	missing := false
	for _, name := range c.args[1:] {
		lines := c.getentHosts(name)
		if db != "hosts" {
			lines = c.getentAHosts(name)
		}
		for _, line := range lines {
			c.printf("%s\n", line)
		}
		missing = missing || len(lines) == 0
	}
	if missing {
		return &ExitError{2}
	}
	return nil
}

// getentHosts is gethostbyname2(3) for IPv6, then for IPv4, or gethostbyaddr(3).
func (c *call) getentHosts(name string) []string {
	if _, err := netip.ParseAddr(name); err == nil {
		return c.getentAddress(name)
	}
	r := c.m.Resolver()
	if len(r.Config.Nameservers) == 0 || c.lab.Pod(c.m.Name()) == nil {
		a, err := c.m.LookupContext(c.ctx, name) // /etc/hosts
		if err != nil {
			return nil
		}
		return []string{hostsLine(a[0].String(), name)}
	}
	for _, t := range []uint16{dns.TypeAAAA, dns.TypeA} {
		m, err := r.Search(c.ctx, name, t)
		if err != nil {
			return nil
		}
		var lines []string
		for _, rr := range addresses(m.Answer) {
			lines = append(lines, hostsLine(rdata(rr), bare(rr.Header().Name)+aliasesOf(m, rr)))
		}
		if len(lines) > 0 {
			return lines
		}
	}
	return nil
}

// aliasesOf are the names that led to a record.
func aliasesOf(m *dns.Msg, rr dns.RR) string {
	text := ""
	for _, a := range m.Answer {
		if c, ok := a.(*dns.CNAME); ok && c.Hdr.Name != rr.Header().Name {
			text += " " + bare(c.Hdr.Name)
		}
	}
	return text
}

func (c *call) getentAddress(addr string) []string {
	r := c.m.Resolver()
	m, err := r.Search(c.ctx, resolv.Reverse(addr), dns.TypePTR)
	if err != nil {
		return nil
	}
	for _, rr := range m.Answer {
		if p, ok := rr.(*dns.PTR); ok {
			return []string{hostsLine(addr, bare(p.Ptr))}
		}
	}
	return nil
}

func hostsLine(addr, names string) string { return fmt.Sprintf("%-15s %s", addr, names) }

// getentAHosts is getaddrinfo(3), each address for three kinds of socket.
func (c *call) getentAHosts(name string) []string {
	addrs, err := c.m.LookupContext(c.ctx, name)
	if err != nil {
		return nil
	}
	var lines []string
	for i, a := range addrs {
		for j, kind := range []string{"STREAM", "DGRAM", "RAW"} {
			line := fmt.Sprintf("%-15s %s", a, kind)
			if i == 0 && j == 0 {
				line += " " + name
			}
			lines = append(lines, line)
		}
	}
	return lines
}
