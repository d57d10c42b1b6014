package shell

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/stack"
)

var tracerouteCommand = Command{
	Name:    "traceroute",
	Usage:   "[-nFIT] [-p PORT] [-q QUERIES] [-f FIRST] [-m HOPS] [-N PARALLEL] [-w SECONDS] [-t TOS] [-s SOURCE] DESTINATION [BYTES]",
	Summary: "show the way to a destination: UDP, -I ICMP, -T TCP; 16 probes in flight",
	run:     (*call).traceroute,
}

func (c *call) traceroute() error {
	var cfg stack.TraceConfig
	var numeric, icmp, tcp bool
	var wait float64
	var tos int
	var source string
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&numeric, "numeric", "n", false, "")
		f.BoolVarP(&icmp, "icmp", "I", false, "")
		f.BoolVarP(&tcp, "tcp", "T", false, "")
		f.BoolVarP(&cfg.DF, "dont-fragment", "F", false, "")
		f.Uint16VarP(&cfg.Port, "port", "p", 0, "")
		f.IntVarP(&cfg.Queries, "queries", "q", 3, "")
		f.IntVarP(&cfg.FirstHop, "first", "f", 1, "")
		f.IntVarP(&cfg.MaxHops, "max-hops", "m", 30, "")
		f.IntVarP(&cfg.Parallel, "sim-queries", "N", 16, "")
		f.Float64VarP(&wait, "wait", "w", 5, "")
		f.IntVarP(&tos, "tos", "t", 0, "")
		f.StringVarP(&source, "source", "s", "", "")
	})
	if !ok {
		return err
	}
	switch {
	case len(args) != 1 && len(args) != 2:
		return c.misused("found %d destinations, want one", len(args))
	case icmp && tcp:
		return c.misused("-I and -T exclude each other")
	case icmp:
		cfg.Method = stack.TraceICMP
	case tcp:
		cfg.Method = stack.TraceTCP
	}
	if !(wait > 0 && wait < 1e6) || tos < 0 || tos > 255 {
		return c.misused("-w takes seconds above 0, -t a number from 0 to 255")
	}
	if cfg.Queries < 1 || cfg.MaxHops < 1 || cfg.FirstHop < 1 || cfg.Parallel < 1 {
		return c.misused("-q, -m, -f and -N take numbers above 0")
	}
	cfg.Wait, cfg.TOS, cfg.Size = seconds(wait), byte(tos), 60
	if len(args) == 2 {
		if cfg.Size, err = strconv.Atoi(args[1]); err != nil || cfg.Size < 1 {
			return c.misused("packet length %q, want a number of bytes", args[1])
		}
	}
	if source != "" {
		if cfg.Source, err = netip.ParseAddr(source); err != nil {
			return c.misused("-s %q, want an address of this machine", source)
		}
		local := false
		c.do(func() { local = c.host.HasAddr(cfg.Source) })
		if !local {
			return c.fail(1, "bind: Cannot assign requested address")
		}
	}
	to, err := c.resolve(args[0])
	if err != nil {
		return err
	}
	return c.trace(args[0], to, cfg, numeric)
}

// trace runs a traceroute and prints each hop when it is known.
func (c *call) trace(name string, to netip.Addr, cfg stack.TraceConfig, numeric bool) error {
	c.printf("traceroute to %s (%v), %d hops max, %d byte packets", name, to, cfg.MaxHops, cfg.Size)
	cfg.OnHop = func(hop stack.TraceHop) {
		c.printf("\n%2d ", hop.TTL)
		var last netip.Addr
		for _, p := range hop.Probes {
			if !p.From.IsValid() {
				c.printf(" *")
				continue
			}
			if p.From != last {
				last = p.From
				if numeric {
					c.printf(" %v", p.From)
				} else {
					c.printf(" %s (%v)", c.nameOf(p.From), p.From)
				}
			}
			c.printf("  %.3f ms", p.RTT.Seconds()*1000)
			if mark := p.Mark(); mark != "" {
				c.printf(" %s", mark)
			}
		}
	}
	_, err := c.m.TracerouteWith(to.String(), cfg)
	fmt.Fprintln(c.Out)
	switch {
	case errors.Is(err, syscall.ENETUNREACH):
		return c.fail(1, "connect: Network is unreachable")
	case err != nil:
		return c.fail(1, "%v", err)
	}
	return nil
}
