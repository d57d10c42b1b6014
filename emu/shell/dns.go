package shell

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/podwire/podwire/emu/resolv"
)

// asking is one DNS question as dig and nslookup put it: to one server after the
// other, and all of them again.
type asking struct {
	*call
	servers []netip.AddrPort
	tcp     bool
	timeout time.Duration
	tries   int
	silent  bool // do not say what went wrong with a server
}

// newAsking reads the nameservers of the machine's resolv.conf.
func (c *call) newAsking() *asking {
	a := &asking{call: c, timeout: 5 * time.Second, tries: 3}
	for _, s := range c.m.ResolvConf().Nameservers {
		a.servers = append(a.servers, netip.AddrPortFrom(s, 53))
	}
	return a
}

// use asks another server: an address, or a name.
func (a *asking) use(server string, port uint16) error {
	addr, err := netip.ParseAddr(server)
	if err != nil {
		addrs, err := a.m.LookupContext(a.ctx, server)
		if err != nil {
			return a.fail(10, "couldn't get address for '%s': not found", server)
		}
		addr = addrs[0]
	}
	a.servers = []netip.AddrPort{netip.AddrPortFrom(addr, port)}
	return nil
}

// ask asks, and returns the answer, who gave it and after how long; nil if nobody
// did, which has been said.
func (a *asking) ask(q *dns.Msg) (m *dns.Msg, from netip.AddrPort, took time.Duration) {
	r := a.m.Resolver()
	for range a.tries {
		for _, s := range a.servers {
			r.Config = resolv.Config{Options: []resolv.Option{{Name: "attempts", Value: "1"}, {Name: "timeout", Value: strconv.Itoa(int(a.timeout / time.Second))}}}
			began := a.lab.Now()
			m, err := r.Exchange(a.ctx, s, q, a.tcp)
			if err == nil {
				return m, s, a.lab.Now() - began
			}
			if !a.silent {
				a.printf(";; communications error to %s: %s\n", hashed(s), dnsTrouble(err))
			}
			if a.ctx.Err() != nil {
				return nil, s, 0
			}
		}
	}
	return nil, netip.AddrPort{}, 0
}

// hashed is a server as BIND's tools write it, 10.96.0.10#53.
func hashed(s netip.AddrPort) string { return s.Addr().String() + "#" + strconv.Itoa(int(s.Port())) }

// dnsTrouble is an error as BIND's tools call it.
func dnsTrouble(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "timed out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "host unreachable"
	case errors.Is(err, syscall.ENETUNREACH):
		return "network unreachable"
	}
	return err.Error()
}

// rdata is what a record says, without its name, time, class and type.
func rdata(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

// bare is a name without the dot at its end.
func bare(name string) string {
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}
