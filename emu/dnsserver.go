package emu

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/podwire/podwire/kube/coredns"
)

// A dnsHandler answers one query; nil is no answer. It may take its time, and is
// called by several goroutines.
type dnsHandler func(q *dns.Msg, over coredns.Transport) *dns.Msg

// serveDNS answers on port 53 of every address of the machine, by UDP and TCP.
func (m *Machine) serveDNS(handle dnsHandler) error {
	pc, err := m.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	ln, err := m.Listen("tcp", ":53")
	if err != nil {
		return errors.Join(err, pc.Close())
	}
	m.lab.serve(func() error { return unlessClosed(m.serveDatagrams(pc, handle)) })
	m.lab.serve(func() error { return unlessClosed(m.serveStreams(ln, handle)) })
	return nil
}

// serveDatagrams answers queries by UDP, each in a goroutine of its own, for some
// have to wait for others' answers.
func (m *Machine) serveDatagrams(pc net.PacketConn, handle dnsHandler) error {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := pc.ReadFrom(buf)
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) {
			continue // an earlier answer found nobody there
		}
		if err != nil {
			return err
		}
		q := new(dns.Msg)
		if q.Unpack(buf[:n]) != nil || q.Response {
			continue
		}
		m.lab.serve(func() error {
			if wire := packed(handle(q, coredns.UDP)); wire != nil {
				pc.WriteTo(wire, from) // who has asked may be gone
			}
			return nil
		})
	}
}

func packed(m *dns.Msg) []byte {
	if m == nil {
		return nil
	}
	wire, err := m.Pack()
	if err != nil {
		return nil
	}
	return wire
}

// dnsIdle is how long CoreDNS keeps a TCP connection open without a query.
const dnsIdle = 10 * time.Second

// serveStreams answers queries by TCP: any number on a connection, in order.
func (m *Machine) serveStreams(ln net.Listener, handle dnsHandler) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		m.lab.serve(func() error {
			defer c.Close()
			for {
				c.SetDeadline(m.lab.Deadline(dnsIdle))
				q, err := readQuery(c)
				if err != nil || q.Response {
					return nil
				}
				wire := packed(handle(q, coredns.TCP))
				if wire == nil {
					return nil
				}
				if _, err := c.Write(withLength(wire)); err != nil {
					return nil
				}
			}
		})
	}
}

// readQuery reads one message with its length in front (RFC 1035 §4.2.2).
func readQuery(c io.Reader) (*dns.Msg, error) {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	wire := make([]byte, int(length[0])<<8|int(length[1]))
	if _, err := io.ReadFull(c, wire); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	return m, m.Unpack(wire)
}

func withLength(wire []byte) []byte {
	return append([]byte{byte(len(wire) >> 8), byte(len(wire))}, wire...)
}

// serveCoreDNS is the workload of CoreDNS's pods.
func (p *Pod) serveCoreDNS() error {
	f := &forwarder{pod: p, cache: make(map[dns.Question]cached)}
	return p.serveDNS(func(q *dns.Msg, over coredns.Transport) *dns.Msg {
		var a coredns.Answer
		server := p.lab.dns.server
		p.lab.drv.Do(func() { a = server.Answer(q, over) })
		switch {
		case a.Reply == nil:
			if m := f.forward(q, over); m != nil {
				return m
			}
			return server.Fail(q, over)
		case a.Chase.Name == "":
			return a.Reply
		}
		sub := new(dns.Msg)
		sub.SetQuestion(a.Chase.Name, a.Chase.Qtype)
		found := f.forward(sub, over)
		var m *dns.Msg
		p.lab.drv.Do(func() { m = server.Finish(q, a, found, over) })
		return m
	})
}

// forwarder is CoreDNS's plugins forward and cache: what is not about the
// cluster is asked at the nameserver of the node, and kept for a while.
type forwarder struct {
	pod   *Pod
	cache map[dns.Question]cached // guarded by the driver's lock
}

// cached is an answer, without an id, and its time.
type cached struct {
	msg        *dns.Msg
	at, expire time.Duration
}

// Times of CoreDNS: forward gives up after 5 s and waits 2 s for each try, cache
// keeps an answer for 5 to 30 s.
const (
	forwardTimeout              = 5 * time.Second
	forwardTry                  = 2 * time.Second
	cacheShortest, cacheLongest = 5 * time.Second, 30 * time.Second
	cacheMost                   = 10000 // answers
)

// forward returns what the nameserver of the node answers to q, nil if it does
// not.
func (f *forwarder) forward(q *dns.Msg, over coredns.Transport) *dns.Msg {
	key := q.Question[0]
	key.Name = strings.ToLower(key.Name)
	if m := f.remembered(q, key); m != nil {
		return m
	}
	conf := f.pod.ResolvConf()
	if len(conf.Nameservers) == 0 {
		return nil
	}
	began := f.pod.lab.Now()
	for f.pod.lab.Now()-began < forwardTimeout {
		m, err := f.ask(q, netip.AddrPortFrom(conf.Nameservers[0], 53), over)
		switch {
		case err == nil:
			f.remember(key, m)
			return m
		case errors.Is(err, net.ErrClosed), f.pod.lab.Now() == began: // refused at once: so it would be again
			return nil
		}
	}
	return nil
}

// ask asks another server, by the way the client came.
func (f *forwarder) ask(q *dns.Msg, server netip.AddrPort, over coredns.Transport) (*dns.Msg, error) {
	network := map[coredns.Transport]string{coredns.UDP: "udp", coredns.TCP: "tcp"}[over]
	c, err := f.pod.Dial(network, server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(f.pod.lab.Deadline(forwardTry))
	sub := q.Copy()
	sub.Id = stub{&f.pod.Machine}.QueryID()
	wire, err := sub.Pack()
	if err != nil {
		return nil, err
	}
	if over == coredns.TCP {
		wire = withLength(wire)
	}
	if _, err := c.Write(wire); err != nil {
		return nil, err
	}
	m, err := readAnswer(c, sub, over)
	if err == nil {
		m.Id = q.Id
	}
	return m, err
}

// readAnswer reads until the answer to q comes.
func readAnswer(c net.Conn, q *dns.Msg, over coredns.Transport) (*dns.Msg, error) {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		if over == coredns.TCP {
			return readQuery(c)
		}
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:n]) == nil && m.Response && m.Id == q.Id {
			return m, nil
		}
	}
}

// remember keeps an answer for as long as its records live, within bounds.
func (f *forwarder) remember(key dns.Question, m *dns.Msg) {
	if m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return
	}
	keep := cacheLongest
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			keep = min(keep, time.Duration(rr.Header().Ttl)*time.Second)
		}
	}
	f.pod.lab.drv.Do(func() {
		if len(f.cache) >= cacheMost {
			clear(f.cache)
		}
		now := f.pod.lab.drv.Now()
		f.cache[key] = cached{msg: m.Copy(), at: now, expire: now + max(keep, cacheShortest)}
	})
}

// remembered returns a kept answer to q, its records older by the time that it
// was kept. CoreDNS marks it authoritative, whatever it was.
func (f *forwarder) remembered(q *dns.Msg, key dns.Question) (m *dns.Msg) {
	f.pod.lab.drv.Do(func() {
		c, ok := f.cache[key]
		now := f.pod.lab.drv.Now()
		if !ok || now >= c.expire {
			return
		}
		m = c.msg.Copy()
		m.Id, m.Question, m.Authoritative = q.Id, q.Question, true
		age := uint32((now - c.at) / time.Second)
		for _, section := range [][]dns.RR{m.Answer, m.Ns} {
			for _, rr := range section {
				h := rr.Header()
				h.Ttl -= min(h.Ttl, age)
			}
		}
	})
	return m
}

// serveUpstream makes the gateways the nameservers of the nodes: resolvers that
// know nodes and machines outside by their names, and that nothing else exists.
func (l *Lab) serveUpstream() error {
	var gateways []*Machine
	l.drv.Do(func() {
		for _, s := range l.segments {
			if m := l.addrs[s.gateway]; m != nil && !slices.Contains(gateways, m) {
				gateways = append(gateways, m)
			}
		}
	})
	for _, m := range gateways {
		if err := m.serveDNS(l.upstream); err != nil {
			return err
		}
	}
	return nil
}

// upstream answers as a gateway.
func (l *Lab) upstream(q *dns.Msg, _ coredns.Transport) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		m.Rcode = dns.RcodeFormatError
		return m
	}
	name := q.Question[0].Name
	a := l.outside(strings.TrimSuffix(dns.CanonicalName(name), "."))
	switch {
	case !a.IsValid():
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{rootSOA()}
	case q.Question[0].Qtype != dns.TypeA:
		m.Ns = []dns.RR{rootSOA()}
	default:
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: a.AsSlice()}}
	}
	return m
}

// outside returns the address of a node or of a machine outside the cluster.
func (l *Lab) outside(name string) netip.Addr {
	var a netip.Addr
	l.drv.Do(func() {
		if m := l.machines[name]; m != nil && m.pod == nil {
			a = m.addr
		}
	})
	return a
}

// rootSOA goes with the answer that a name does not exist.
func rootSOA() dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 86400},
		Ns:  "a.root-servers.net.", Mbox: "nstld.verisign-grs.com.", Serial: 2026010100, Refresh: 1800, Retry: 900, Expire: 604800, Minttl: 86400,
	}
}
