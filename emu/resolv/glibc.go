package resolv

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// askGlibc asks one server after the other and all of them again, as
// resolv/res_send.c does: both questions from one connected socket, one behind
// the other. If only one is answered in time, both are asked once more, the
// second only after the answer to the first: this is the five seconds' delay of
// a lost datagram. An answer that does not fit is fetched by TCP.
func (r *Resolver) askGlibc(ctx context.Context, queries []*dns.Msg) verdict {
	g := glibc{
		r: r, ctx: ctx, queries: queries, socks: make([]net.Conn, len(r.Config.Nameservers)),
		single: r.Config.flag("single-request"), reopen: r.Config.flag("single-request-reopen"),
	}
	g.single = g.single || g.reopen
	defer g.close()
	last := verdict{outcome: silent, server: r.Config.Nameservers[0]}
	for range r.Config.attempts() {
		for i, server := range r.Config.Nameservers {
			if ctx.Err() != nil {
				return last
			}
			answers, err := g.server(i)
			if err != nil {
				last.err, last.server = err, server
				continue
			}
			v := judge(server, answers)
			if v.outcome != refusing {
				return v
			}
			last = v
			g.drop(i)
		}
	}
	return last
}

// glibc is the state of one question pair.
type glibc struct {
	r              *Resolver
	ctx            context.Context
	queries        []*dns.Msg
	socks          []net.Conn // by server, open until the questions are settled
	single, reopen bool
}

func (g *glibc) close() {
	for i := range g.socks {
		g.drop(i)
	}
}

func (g *glibc) drop(i int) {
	if g.socks[i] != nil {
		g.socks[i].Close()
		g.socks[i] = nil
	}
}

// server asks one server, until it has answered both or for the time that it is
// given: the whole for the first server, less for those behind it.
func (g *glibc) server(i int) ([]*dns.Msg, error) {
	if g.r.Config.flag("use-vc") {
		return g.stream(i)
	}
	wait := g.r.Config.timeout()
	if i > 0 {
		wait = wait << i / time.Duration(len(g.r.Config.Nameservers))
	}
	for {
		answers, err := g.datagrams(i, wait)
		switch {
		case err == nil && anyTruncated(answers):
			return g.stream(i)
		case err == nil:
			return answers, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			g.drop(i)
			return nil, err
		case answers[0] == nil && answers[1] == nil || g.ctx.Err() != nil:
			return nil, err
		case !g.single:
			g.single = true
		case !g.reopen:
			g.reopen = true
			g.drop(i)
		default:
			return answers, nil // one answer is better than none
		}
	}
}

func anyTruncated(answers []*dns.Msg) bool {
	for _, m := range answers {
		if m != nil && m.Truncated {
			return true
		}
	}
	return false
}

// datagrams asks both questions by UDP and waits for the answers.
func (g *glibc) datagrams(i int, wait time.Duration) ([]*dns.Msg, error) {
	answers := make([]*dns.Msg, len(g.queries))
	for n := 0; n < len(g.queries); {
		batch := g.queries[n:]
		if g.single {
			batch = batch[:1]
		}
		if g.reopen && n > 0 {
			g.drop(i)
		}
		if err := g.send(i, batch); err != nil {
			return answers, err
		}
		if err := g.receive(i, batch, answers[n:n+len(batch)], wait); err != nil {
			return answers, err
		}
		n += len(batch)
	}
	return answers, nil
}

func (g *glibc) send(i int, batch []*dns.Msg) (err error) {
	if g.socks[i] == nil {
		if g.socks[i], err = g.r.Network.DialContext(g.ctx, "udp", port53(g.r.Config.Nameservers[i])); err != nil {
			return err
		}
	}
	for _, q := range batch {
		wire, err := q.Pack()
		if err != nil {
			return err
		}
		if _, err := g.socks[i].Write(wire); err != nil {
			return err
		}
	}
	return nil
}

// receive reads until every question of the batch has its answer.
func (g *glibc) receive(i int, batch, answers []*dns.Msg, wait time.Duration) error {
	c := g.socks[i]
	c.SetReadDeadline(g.r.Network.Deadline(wait))
	defer expire(g.ctx, c)()
	buf := make([]byte, dns.MaxMsgSize)
	for left := len(batch); left > 0; {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		if k, m := match(batch, buf[:n]); k >= 0 && answers[k] == nil {
			answers[k] = m
			left--
			if m.Truncated {
				return nil
			}
		}
	}
	return nil
}

// stream asks both questions over one TCP connection.
func (g *glibc) stream(i int) ([]*dns.Msg, error) {
	return g.r.stream(g.ctx, port53(g.r.Config.Nameservers[i]), g.queries)
}

// stream asks questions over one TCP connection, all at once, and waits for all
// answers (RFC 7766 §6.2.1.1).
func (r *Resolver) stream(ctx context.Context, address string, queries []*dns.Msg) ([]*dns.Msg, error) {
	answers := make([]*dns.Msg, len(queries))
	c, err := r.Network.DialContext(ctx, "tcp", address)
	if err != nil {
		return answers, err
	}
	defer c.Close()
	c.SetDeadline(r.Network.Deadline(r.Config.timeout()))
	defer expire(ctx, c)()
	var out []byte
	for _, q := range queries {
		wire, err := q.Pack()
		if err != nil {
			return answers, err
		}
		out = append(append(out, byte(len(wire)>>8), byte(len(wire))), wire...)
	}
	if _, err := c.Write(out); err != nil {
		return answers, err
	}
	conn := dns.Conn{Conn: c}
	for left := len(queries); left > 0; left-- {
		wire, err := conn.ReadMsgHeader(nil)
		if err != nil {
			return answers, err
		}
		k, m := match(queries, wire)
		if k < 0 {
			return answers, syscall.EBADMSG
		}
		answers[k] = m
	}
	return answers, nil
}

// expire has a socket give up waiting when ctx ends. The caller calls stop.
func expire(ctx context.Context, c interface{ SetReadDeadline(time.Time) error }) (stop func()) {
	end := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	return func() { end() }
}
