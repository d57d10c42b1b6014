package resolv

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"github.com/miekg/dns"
)

// Exchange sends one question to one server and returns the answer, as dig does:
// by UDP, each try for the time that the configuration says, or by TCP. An answer
// that was cut short is fetched by TCP. The question gets an id if it has none.
func (r *Resolver) Exchange(ctx context.Context, server netip.AddrPort, q *dns.Msg, tcp bool) (*dns.Msg, error) {
	if q.Id == 0 {
		q.Id = r.Network.QueryID()
	}
	if tcp {
		return r.overTCP(ctx, server, q)
	}
	wire, err := q.Pack()
	if err != nil {
		return nil, err
	}
	for range r.Config.attempts() {
		var m *dns.Msg
		if m, err = r.overUDP(ctx, server, q, wire); err == nil && m.Truncated {
			return r.overTCP(ctx, server, q)
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			return m, err
		}
	}
	return nil, err
}

// overTCP asks over a connection of its own.
func (r *Resolver) overTCP(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	answers, err := r.stream(ctx, server.String(), []*dns.Msg{q})
	return answers[0], err
}

// overUDP sends one datagram and waits for its answer.
func (r *Resolver) overUDP(ctx context.Context, server netip.AddrPort, q *dns.Msg, wire []byte) (*dns.Msg, error) {
	c, err := r.Network.DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer expire(ctx, c)()
	c.SetReadDeadline(r.Network.Deadline(r.Config.timeout()))
	if _, err := c.Write(wire); err != nil {
		return nil, err
	}
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if i, m := match([]*dns.Msg{q}, buf[:n]); i == 0 {
			return m, nil
		}
	}
}

// Search asks for records of one type, of a name as it is and below the domains
// of the search list, as res_search(3) does: the first answer that has records is
// returned, else that which says most: that the name exists without such records
// rather than that it does not exist. Nameservers are asked in turn. An error is a
// *net.DNSError and says that nobody answers.
func (r *Resolver) Search(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	if _, ok := dns.IsDomainName(name); !ok || name == "" || len(r.Config.Nameservers) == 0 {
		return nil, r.failure(name, verdict{outcome: missing})
	}
	var last *dns.Msg
	for _, candidate := range r.Candidates(name) {
		m, err := r.one(ctx, candidate, qtype)
		switch {
		case err != nil:
			return nil, r.failure(name, verdict{outcome: silent, server: r.Config.Nameservers[0], err: err})
		case m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0:
			return m, nil
		case last == nil || last.Rcode != dns.RcodeSuccess:
			last = m
		}
	}
	return last, nil
}

// one asks the nameservers in turn.
func (r *Resolver) one(ctx context.Context, name string, qtype uint16) (m *dns.Msg, err error) {
	for _, server := range r.Config.Nameservers {
		q := new(dns.Msg)
		q.SetQuestion(name, qtype)
		q.Id = r.Network.QueryID()
		if m, err = r.Exchange(ctx, netip.AddrPortFrom(server, 53), q, false); err == nil && !failed(m) {
			return m, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if err == nil {
		return m, nil // all have failed, this one last
	}
	return nil, err
}

// Reverse returns the name under which the records of an address are, or the name
// itself.
func Reverse(name string) string {
	if a, err := netip.ParseAddr(name); err == nil {
		if arpa, err := dns.ReverseAddr(a.String()); err == nil {
			return arpa
		}
	}
	return name
}
