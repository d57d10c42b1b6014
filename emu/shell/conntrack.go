package shell

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/stack/conntrack"
)

var conntrackCommand = Command{
	Name:    "conntrack",
	Usage:   "{-L|-D|-C|-F|-S} [-p PROTO] [-s ADDR] [-d ADDR] [--sport N] [--dport N] [--reply-src ADDR] [--reply-dst ADDR]",
	Summary: "list, delete, count and flush tracked connections; -S counters",
	run:     (*call).conntrack,
}

// flowFilter chooses entries by what their original direction looks like. Zero
// fields choose all.
type flowFilter struct {
	proto              uint8
	src, dst           netip.Addr
	replySrc, replyDst netip.Addr
	sport, dport       uint16
}

func (f *flowFilter) match(e *conntrack.Entry) bool {
	o, r := e.Tuple(conntrack.Original), e.Tuple(conntrack.Reply)
	same := func(want, got netip.Addr) bool { return !want.IsValid() || want == got }
	return (f.proto == 0 || f.proto == o.Proto) && same(f.src, o.Src) && same(f.dst, o.Dst) && same(f.replySrc, r.Src) && same(f.replyDst, r.Dst) &&
		(f.sport == 0 || f.sport == o.SrcPort) && (f.dport == 0 || f.dport == o.DstPort)
}

var flowProtos = map[string]uint8{"": 0, "icmp": 1, "tcp": 6, "udp": 17, "sctp": 132, "gre": 47}

func (c *call) conntrack() error {
	var list, del, count, flush, stats bool
	var proto string
	var f flowFilter
	addrs := map[string]*netip.Addr{"src": &f.src, "dst": &f.dst, "reply-src": &f.replySrc, "reply-dst": &f.replyDst}
	text := map[string]*string{}
	args, ok, err := c.parse(func(fs *pflag.FlagSet) {
		fs.BoolVarP(&list, "dump", "L", false, "")
		fs.BoolVarP(&del, "delete", "D", false, "")
		fs.BoolVarP(&count, "count", "C", false, "")
		fs.BoolVarP(&flush, "flush", "F", false, "")
		fs.BoolVarP(&stats, "stats", "S", false, "")
		fs.StringVarP(&proto, "proto", "p", "", "")
		text["src"], text["dst"] = fs.StringP("src", "s", "", ""), fs.StringP("dst", "d", "", "")
		text["reply-src"], text["reply-dst"] = fs.StringP("reply-src", "r", "", ""), fs.StringP("reply-dst", "q", "", "")
		fs.Uint16Var(&f.sport, "sport", 0, "")
		fs.Uint16Var(&f.dport, "dport", 0, "")
		fs.Uint16Var(&f.sport, "orig-port-src", 0, "")
		fs.Uint16Var(&f.dport, "orig-port-dst", 0, "")
	})
	if !ok {
		return err
	}
	commands := 0
	for _, on := range []bool{list, del, count, flush, stats} {
		if on {
			commands++
		}
	}
	f.proto, ok = flowProtos[proto]
	switch {
	case commands != 1:
		return c.misused("found %d commands, want one of -L, -D, -C, -F and -S", commands)
	case len(args) > 0 && args[0] != "conntrack":
		return c.misused("table %q, want conntrack", args[0])
	case !ok:
		return c.misused("protocol %q, want icmp, tcp, udp, sctp or gre", proto)
	}
	for key, s := range text {
		if *s != "" {
			if *addrs[key], err = c.lab.Resolve(*s); err != nil {
				return c.misused("--%s %q, want an address or a name", key, *s)
			}
		}
	}
	if stats {
		return c.flowStats()
	}
	return c.flows(&f, del, count, flush)
}

// flowStats prints the table's counters as conntrack -S does, for the one CPU that
// there is.
func (c *call) flowStats() error {
	var s conntrack.Stats
	c.do(func() {
		if table := c.host.Conntrack(); table != nil {
			s = table.Stats()
		}
	})
	c.printf("cpu=0   \tfound=0 invalid=%d insert=0 insert_failed=%d drop=%d early_drop=%d error=%d search_restart=0 clash_resolve=%d chaintoolong=0 \n",
		s.Invalid, s.InsertFailed, s.Drop, s.EarlyDrop, s.ICMPError, s.ClashResolved)
	return nil
}

// flows does what conntrack is to do.
func (c *call) flows(f *flowFilter, del, count, flush bool) error {
	var lines []string
	all := 0
	c.do(func() {
		table := c.host.Conntrack()
		if table == nil {
			return // nothing was ever tracked
		}
		now := c.lab.Driver().Now()
		entries := table.Entries(now)
		all = len(entries)
		for _, e := range entries {
			if f.match(e) {
				lines = append(lines, flowLine(e.Line(now)))
			}
		}
		switch {
		case del:
			table.Delete(now, f.match)
		case flush:
			table.Flush()
		}
	})
	word := "shown"
	switch {
	case count:
		c.printf("%d\n", all)
		return nil
	case flush:
		fmt.Fprintln(c.Err, "conntrack: connection tracking table has been emptied.")
		return nil
	case del:
		word = "deleted"
	}
	for _, l := range lines {
		c.printf("%s\n", l)
	}
	fmt.Fprintf(c.Err, "conntrack: %d flow entries have been %s.\n", len(lines), word)
	if del && len(lines) == 0 {
		return &ExitError{1}
	}
	return nil
}

// flowLine turns a line of /proc/net/nf_conntrack into one of conntrack -L.
func flowLine(proc string) string {
	const family = len("ipv4     2 ")
	return strings.Replace(proc[family:], " zone=0 use=2", " use=1", 1)
}

var catCommand = Command{
	Name: "cat", Usage: "/proc/net/nf_conntrack | /proc/sys/NAME | /etc/resolv.conf", Summary: "print a file of /proc, or resolv.conf",
	run: (*call).cat,
}

// cat prints the few files that the kernel has and that are not better asked for
// by a command.
func (c *call) cat() error {
	for _, path := range c.args {
		if name, ok := strings.CutPrefix(path, "/proc/sys/"); ok {
			v, err := c.readSysctl(name)
			if err != nil {
				return c.fail(1, "%s: No such file or directory (%v)", path, err)
			}
			c.printf("%s\n", v)
			continue
		}
		if path == "/etc/resolv.conf" {
			c.printf("%s", c.m.ResolvConf())
			continue
		}
		if path != "/proc/net/nf_conntrack" {
			return c.fail(1, "%s: No such file or directory, want /proc/net/nf_conntrack, /proc/sys/NAME or /etc/resolv.conf", path)
		}
		c.do(func() {
			if table := c.host.Conntrack(); table != nil {
				now := c.lab.Driver().Now()
				for _, e := range table.Entries(now) {
					c.printf("%s\n", e.Line(now))
				}
			}
		})
	}
	return nil
}
