package resolv

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// Network is the sockets and the clock of the machine that asks.
type Network interface {
	// DialContext connects to an address and port; network is udp or tcp.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// ListenPacket opens a UDP socket that is not connected.
	ListenPacket(network, address string) (net.PacketConn, error)
	// Deadline returns the time that lies d ahead.
	Deadline(d time.Duration) time.Time
	// QueryID returns a number for a query, as good as random.
	QueryID() uint16
}

// Resolver looks up names for one machine. It keeps nothing from one lookup to
// the next, as the libraries do without a caching daemon. The zero Config has no
// nameserver: every name is unknown.
type Resolver struct {
	Config  Config
	Library Library
	Network Network
}

// Lookup returns the addresses of a name, as getaddrinfo(3) with AF_UNSPEC does: it
// asks for IPv4 and IPv6 addresses together, of the name as it is and below the
// domains of the search list. An error is a *net.DNSError.
func (r *Resolver) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if _, ok := dns.IsDomainName(name); !ok || name == "" || name == "." {
		return nil, r.failure(name, verdict{outcome: missing})
	}
	last := verdict{outcome: missing}
	for _, candidate := range r.Candidates(name) {
		v := r.ask(ctx, candidate)
		if ctx.Err() != nil {
			return nil, &net.DNSError{Err: ctx.Err().Error(), Name: name, IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded), UnwrapErr: ctx.Err()}
		}
		if v.outcome == found {
			return v.addrs, nil
		}
		if last = worse(last, v); r.final(v) {
			break
		}
	}
	return nil, r.failure(name, last)
}

// Candidates are the names to ask for, in order. Glibc asks for a name with
// enough dots as it is and then searches; musl does one or the other.
func (r *Resolver) Candidates(name string) []string {
	absolute := dns.Fqdn(name)
	if strings.HasSuffix(name, ".") {
		return []string{absolute}
	}
	dotted := strings.Count(name, ".") >= r.Config.ndots()
	var list []string
	if dotted && r.Library == Musl {
		return []string{absolute}
	}
	if dotted {
		list = append(list, absolute)
	}
	for _, domain := range r.Config.Search {
		full := absolute
		if domain != "." {
			full += dns.Fqdn(domain)
		}
		if !slices.Contains(list, full) {
			list = append(list, full)
		}
	}
	if !dotted {
		list = append(list, absolute)
	}
	return list
}

// final reports whether a search ends with a verdict although nothing was
// found: when no server answers, and for musl when the name exists.
func (r *Resolver) final(v verdict) bool {
	switch v.outcome {
	case missing:
		return false
	case empty, refusing:
		return r.Library == Musl
	}
	return true
}

// outcome is what became of asking for one name.
type outcome int

const (
	missing  outcome = iota // NXDOMAIN
	empty                   // the name exists, without addresses
	refusing                // a server has failed: SERVFAIL and the like
	silent                  // nobody answered
	found
)

type verdict struct {
	outcome outcome
	addrs   []netip.Addr
	server  netip.Addr
	err     error // of the socket, if that is why nobody answered
}

// worse returns what a whole search says: rather that data is missing than that
// a server failed, and either rather than that the name is not known.
func worse(a, b verdict) verdict {
	if b.outcome > a.outcome && !(a.outcome == empty && b.outcome == refusing) || a.outcome == refusing && b.outcome == empty {
		return b
	}
	return a
}

func (r *Resolver) failure(name string, v verdict) error {
	e := &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	if v.server.IsValid() {
		e.Server = net.JoinHostPort(v.server.String(), "53")
	}
	switch v.outcome {
	case refusing:
		*e = net.DNSError{Err: "server misbehaving", Name: name, Server: e.Server, IsTemporary: true}
	case silent:
		*e = net.DNSError{Err: "i/o timeout", Name: name, Server: e.Server, IsTimeout: true, IsTemporary: true}
		if errors.Is(v.err, syscall.ECONNREFUSED) {
			*e = net.DNSError{Err: "connection refused", Name: name, Server: e.Server, IsTemporary: true, UnwrapErr: v.err}
		}
	}
	return e
}

// judge makes a verdict of the answers to A and AAAA.
func judge(server netip.Addr, answers []*dns.Msg) verdict {
	v := verdict{outcome: missing, server: server}
	for _, m := range answers {
		switch {
		case m == nil:
			continue
		case failed(m):
			v.outcome = max(v.outcome, refusing)
		case m.Rcode == dns.RcodeSuccess:
			v.outcome = max(v.outcome, empty)
		}
		for _, rr := range m.Answer {
			if a := address(rr); a.IsValid() {
				v.addrs = append(v.addrs, a)
			}
		}
	}
	if len(v.addrs) > 0 {
		v.outcome = found
	}
	return v
}

// failed reports whether an answer says that the server could not answer.
func failed(m *dns.Msg) bool {
	return m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
}

func address(rr dns.RR) netip.Addr {
	var a netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		a, _ = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		a, _ = netip.AddrFromSlice(rr.AAAA)
	}
	return a
}

// ask asks for the addresses of one name.
func (r *Resolver) ask(ctx context.Context, name string) verdict {
	if len(r.Config.Nameservers) == 0 {
		return verdict{outcome: missing}
	}
	q := r.queries(name)
	if r.Library == Musl {
		return r.askMusl(ctx, q)
	}
	return r.askGlibc(ctx, q)
}

// queries are the questions for A and for AAAA, with ids that differ.
func (r *Resolver) queries(name string) []*dns.Msg {
	var list []*dns.Msg
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m := new(dns.Msg)
		m.SetQuestion(name, t)
		m.Id = r.Network.QueryID()
		if len(list) > 0 && m.Id == list[0].Id {
			m.Id++
		}
		if r.Config.flag("edns0") {
			m.SetEdns0(1200, false)
		}
		list = append(list, m)
	}
	return list
}

// match returns which of the queries a datagram answers, -1 for none.
func match(queries []*dns.Msg, wire []byte) (int, *dns.Msg) {
	m := new(dns.Msg)
	if m.Unpack(wire) != nil || !m.Response || len(m.Question) != 1 {
		return -1, nil
	}
	for i, q := range queries {
		if m.Id == q.Id && strings.EqualFold(m.Question[0].Name, q.Question[0].Name) && m.Question[0].Qtype == q.Question[0].Qtype {
			return i, m
		}
	}
	return -1, nil
}

// port53 is a nameserver's address as Dial wants it.
func port53(a netip.Addr) string { return netip.AddrPortFrom(a, 53).String() }
