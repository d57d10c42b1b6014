package resolv

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"
)

// askMusl asks all servers at once and takes the first answer to each question,
// as src/network/res_msend.c does. The socket is not connected, so that it does
// not hear of errors: a server that is not there costs the whole time. What is
// not answered is asked again after half of it.
func (r *Resolver) askMusl(ctx context.Context, queries []*dns.Msg) verdict {
	m := musl{r: r, queries: queries, answers: make([]*dns.Msg, len(queries)), retries: 2 * len(queries)}
	silence := verdict{outcome: silent, server: r.Config.Nameservers[0]}
	pc, err := r.Network.ListenPacket("udp", ":0")
	if err != nil {
		silence.err = err
		return silence
	}
	m.pc = pc
	defer pc.Close()
	defer expire(ctx, pc)()
	interval := r.Config.timeout() / time.Duration(r.Config.attempts())
	for range r.Config.attempts() {
		m.send(r.Config.Nameservers)
		pc.SetReadDeadline(r.Network.Deadline(interval))
		if err := m.receive(); err == nil || ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	for i, a := range m.answers {
		if a == nil {
			return silence
		}
		if a.Truncated {
			over, err := r.stream(ctx, port53(m.from[i]), queries[i:i+1])
			if err != nil {
				return silence
			}
			m.answers[i] = over[0]
		}
	}
	return judge(m.from[0], m.answers)
}

// musl is the state of one question pair.
type musl struct {
	r       *Resolver
	pc      net.PacketConn
	queries []*dns.Msg
	answers []*dns.Msg
	from    [2]netip.Addr // who has answered
	retries int           // left for servers that fail
}

// send asks servers whatever has not been answered.
func (m *musl) send(servers []netip.Addr) {
	for i, q := range m.queries {
		if m.answers[i] == nil {
			m.sendOne(q, servers)
		}
	}
}

// sendOne asks servers one question. Errors are as good as no answer.
func (m *musl) sendOne(q *dns.Msg, servers []netip.Addr) {
	wire, err := q.Pack()
	if err != nil {
		return
	}
	for _, s := range servers {
		m.pc.WriteTo(wire, net.UDPAddrFromAddrPort(netip.AddrPortFrom(s, 53)))
	}
}

// receive reads until all questions are answered. A server that fails is asked
// again at once, a few times.
func (m *musl) receive() error {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, addr, err := m.pc.ReadFrom(buf)
		if err != nil {
			return err
		}
		from, err := netip.ParseAddrPort(addr.String())
		if err != nil {
			continue
		}
		i, a := match(m.queries, buf[:n])
		switch {
		case i < 0 || m.answers[i] != nil || !m.isServer(from):
			continue
		case a.Rcode == dns.RcodeServerFailure && m.retries > 0:
			m.retries--
			m.sendOne(m.queries[i], []netip.Addr{from.Addr()})
			continue
		}
		m.answers[i], m.from[i] = a, from.Addr()
		if m.answers[0] != nil && m.answers[1] != nil {
			return nil
		}
	}
}

func (m *musl) isServer(from netip.AddrPort) bool {
	for _, s := range m.r.Config.Nameservers {
		if from == netip.AddrPortFrom(s, 53) {
			return true
		}
	}
	return false
}
