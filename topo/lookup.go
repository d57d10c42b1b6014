package topo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	yaml "go.yaml.in/yaml/v3"
)

// Lookup asks for a name. Without a type it does what a program does to connect:
// getaddrinfo(3), in a cluster with DNS with packets. With one it asks for records
// of that type, below the domains of the search list too.
type Lookup struct {
	From   Ref
	Name   Field[string]
	Type   Field[string]     // of records: A, SRV, PTR ...; not set: addresses
	Server Field[netip.Addr] // to ask instead of the nameservers of resolv.conf
	Count  Field[int]        // lookups one after another; default 1
	// Expect are the records that must come back, in any order, as `dig +short`
	// prints them; names of pods and Services stand for their addresses. One word,
	// NXDOMAIN or NODATA, is that there must be none.
	Expect Field[[]string]
}

// lookupTypes are the types of records that a lookup can ask for.
var lookupTypes = []string{"A", "AAAA", "CNAME", "NS", "PTR", "SOA", "SRV", "TXT"}

func (l *load) decodeLookup(step mapping, s *Step) {
	k := &Lookup{}
	s.Action = k
	m, ok := l.verb(step, "lookup", []string{"from", "name"}, "type", "server", "count", "expect")
	if !ok {
		return
	}
	k.From, k.Name, k.Server = m.ref("from"), decode(m, "name", "a name such as web or web.prod", parseDomain), m.addr("server")
	k.Type = m.word("type", lookupTypes)
	k.Count = orDefault(m.integer("count", 1, 10_000), 1)
	n := m.get("expect")
	if n == nil {
		return
	}
	k.Expect.Pos = step.d.pos(n)
	if n.Kind == yaml.SequenceNode {
		m.list("expect", "", func(path string, n *yaml.Node) {
			if text, ok := l.scalar(m.d, n, path, "a record"); ok {
				k.Expect.Value = append(k.Expect.Value, text)
			}
		})
	} else if text, ok := l.scalar(m.d, n, m.path("expect"), "a record, a list of records, NXDOMAIN or NODATA"); ok {
		k.Expect.Value = []string{text}
	}
}

func parseDomain(s string) (string, error) {
	if _, ok := dns.IsDomainName(s); !ok || s == "" || strings.ContainsAny(s, " \t") {
		return "", strconv.ErrSyntax
	}
	return s, nil
}

// Verb implements Action.
func (k *Lookup) Verb() string { return "lookup" }

func (k *Lookup) title() string {
	what := k.Name.Value
	if k.Type.IsSet() {
		what += " " + k.Type.Value
	}
	return fmt.Sprintf("lookup %s: %s", k.From.Text, what)
}

func (k *Lookup) resolve(l *load, at string) {
	l.resolve(&k.From, at+".from", RefPod, RefNode, RefHost)
	if k.Type.Value != "" && k.From.Kind == RefPod && !l.sc.Cluster.DNS.Value && !k.Server.IsSet() {
		l.addAt(k.Type.Pos, Diagnostic{Rule: "no-dns", Message: at + ": nobody can be asked for " + k.Type.Value + " records: the cluster has no DNS", Hint: "cluster: {dns: true}"})
	}
}

func (k *Lookup) play(p *player) {
	for range k.Count.Value {
		checks, began := len(p.result.Checks), p.lab.Now()
		k.once(p)
		p.result.Took, p.timed = max(p.result.Took, p.lab.Now()-began), true // of several the slowest counts
		if p.err != nil || !p.result.Passed {
			return
		}
		if checks > 0 {
			p.result.Checks = p.result.Checks[:checks] // the same again
		}
	}
}

// once looks up once and checks what came back.
func (k *Lookup) once(p *player) {
	got, name, err := k.ask(p)
	p.result.Outcome = fmt.Sprintf("%s: %s", name, strings.Join(got, ", "))
	if len(k.Expect.Value) == 0 {
		p.err = err
		return
	}
	var want []string
	for _, w := range k.Expect.Value {
		want = append(want, p.record(w, got))
	}
	if e, ok := err.(*net.DNSError); ok {
		if !e.IsNotFound {
			p.err = err
			return
		}
		got = []string{"NXDOMAIN"}
	}
	slices.Sort(got)
	slices.Sort(want)
	p.result.check("lookup", strings.Join(got, ", "), strings.Join(want, ", "), slices.Equal(got, want))
}

// record is one wanted record as it would come back: as it stands if it did, else
// the address of what it names.
func (p *player) record(want string, got []string) string {
	switch {
	case slices.Contains(got, want):
		return want
	case slices.Contains(got, want+"."):
		return want + "."
	}
	if a, err := p.lab.Resolve(want); err == nil {
		return a.String()
	}
	return want
}

// ask asks, and returns the records and the name they are of.
func (k *Lookup) ask(p *player) (records []string, name string, err error) {
	ctx, cancel := p.lab.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	m := p.machine(k.From)
	if !k.Type.IsSet() && !k.Server.IsSet() {
		addrs, err := m.LookupContext(ctx, k.Name.Value)
		for _, a := range addrs {
			records = append(records, a.String())
		}
		return records, k.Name.Value, err
	}
	r := m.Resolver()
	if k.Server.IsSet() {
		r.Config.Nameservers = []netip.Addr{k.Server.Value}
	}
	name, qtype := k.Name.Value, dns.StringToType[k.Type.Value]
	if qtype == dns.TypePTR {
		if a, err := netip.ParseAddr(name); err == nil {
			name, _ = dns.ReverseAddr(a.String())
		}
	}
	if qtype == 0 {
		qtype = dns.TypeA
	}
	answer, err := r.Search(ctx, name, qtype)
	if err != nil {
		return nil, name, err
	}
	name = answer.Question[0].Name
	for _, rr := range answer.Answer {
		records = append(records, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	if len(records) == 0 {
		records = []string{nothing(answer)}
		if answer.Rcode != dns.RcodeSuccess && len(k.Expect.Value) == 0 {
			err = &net.DNSError{Err: records[0], Name: name, IsNotFound: answer.Rcode == dns.RcodeNameError}
		}
	}
	return records, name, err
}

// nothing is the word for an answer without records.
func nothing(m *dns.Msg) string {
	if m.Rcode == dns.RcodeSuccess {
		return "NODATA"
	}
	return dns.RcodeToString[m.Rcode]
}
