package shell

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/stack/ipvs"
)

var ipvsadmCommand = Command{
	Name: "ipvsadm", Usage: "{-L|-S|-Z} [-n] [-c] [--stats]",
	Summary: "list virtual servers (-L), their connections (-L -c) and counters (-L --stats)",
	run:     (*call).ipvsadm,
}

// ipvsadm follows ipvsadm 1.31, numeric. Virtual servers are changed by
// kube-proxy alone.
func (c *call) ipvsadm() error {
	var list, save, zero, conns, stats bool
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&list, "list", "L", false, "")
		f.BoolVarP(&list, "List", "l", false, "")
		f.BoolVarP(&save, "save", "S", false, "")
		f.BoolVarP(&zero, "zero", "Z", false, "")
		f.BoolP("numeric", "n", true, "")
		f.BoolVarP(&conns, "connection", "c", false, "")
		f.BoolVar(&stats, "stats", false, "")
	})
	if !ok {
		return err
	}
	list = list || !save && !zero
	switch {
	case len(args) > 0:
		return c.misused("argument %q is too much", args[0])
	case conns && stats:
		return c.misused("options -c and --stats exclude each other")
	}
	var b strings.Builder
	c.do(func() {
		t, now := c.host.IPVS(), c.lab.Driver().Now()
		t.Advance(now)
		switch {
		case zero:
			for _, s := range t.Services() {
				s.Stats = ipvs.Stats{}
				for _, d := range s.Servers() {
					d.Stats = ipvs.Stats{}
				}
			}
		case save:
			ipvsSave(&b, t)
		case list && conns:
			b.WriteString("IPVS connection entries\npro expire state       source             virtual            destination\n")
			for _, x := range t.Conns(now) {
				left := max(x.Deadline()-now, 0).Seconds()
				proto, _, _ := strings.Cut(x.String(), " ")
				fmt.Fprintf(&b, "%-3s %02d:%02d  %-11s %-18s %-18s %s\n", proto, int(left)/60, int(left)%60, x.State(), x.Client, x.Service, x.Server)
			}
		case list:
			ipvsList(&b, t, stats)
		}
	})
	c.printf("%s", b.String())
	return nil
}

func ipvsFlags(s *ipvs.Service) string {
	if s.Persistent > 0 {
		return fmt.Sprintf(" persistent %d", int(s.Persistent.Seconds()))
	}
	return ""
}

func ipvsList(b *strings.Builder, t *ipvs.Table, stats bool) {
	fmt.Fprintf(b, "IP Virtual Server version 1.2.1 (size=%d)\n", ipvs.DefaultSize)
	if stats {
		fmt.Fprintf(b, "%-33s %8s %8s %8s %8s %8s\n  -> RemoteAddress:Port\n", "Prot LocalAddress:Port", "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes")
	} else {
		b.WriteString("Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n")
	}
	counts := func(s *ipvs.Stats) string {
		return fmt.Sprintf(" %8d %8d %8d %8d %8d", s.Conns, s.InPackets, s.OutPackets, s.InBytes, s.OutBytes)
	}
	for _, s := range t.Services() {
		proto := "TCP"
		if s.Proto == 17 {
			proto = "UDP"
		}
		name := fmt.Sprintf("%-4s %s", proto, s.Addr)
		if stats {
			fmt.Fprintf(b, "%-33s%s\n", name, counts(&s.Stats))
		} else {
			fmt.Fprintf(b, "%s %s%s\n", name, s.Scheduler, ipvsFlags(s))
		}
		for _, d := range s.Servers() {
			if stats {
				fmt.Fprintf(b, "  -> %-28s%s\n", d.Addr, counts(&d.Stats))
			} else {
				fmt.Fprintf(b, "  -> %-28s %-7s %-6d %-10d %-10d\n", d.Addr, "Masq", d.Weight, d.Active, d.Inactive)
			}
		}
	}
}

// ipvsSave is ipvsadm -S: what ipvsadm -R reads.
func ipvsSave(b *strings.Builder, t *ipvs.Table) {
	for _, s := range t.Services() {
		opt := "-t"
		if s.Proto == 17 {
			opt = "-u"
		}
		persistent := ""
		if s.Persistent > 0 {
			persistent = fmt.Sprintf(" -p %d", int(s.Persistent.Seconds()))
		}
		fmt.Fprintf(b, "-A %s %s -s %s%s\n", opt, s.Addr, s.Scheduler, persistent)
		for _, d := range s.Servers() {
			fmt.Fprintf(b, "-a %s %s -r %s -m -w %d\n", opt, s.Addr, d.Addr, d.Weight)
		}
	}
}

var ipsetCommand = Command{
	Name: "ipset", Usage: "{list|save} [-n|-t] [SET] | restore | {create|add|del|flush|destroy|swap} ...",
	Summary: "list and change the sets that rules match",
	run:     (*call).ipset,
}

func (c *call) ipset() error {
	words := c.args
	if len(words) == 0 {
		return c.misused("no command specified")
	}
	switch words[0] {
	case "list", "-L":
		return c.ipsetList(words[1:])
	case "save", "-S":
		var text string
		c.do(func() { text = c.host.Netfilter().SaveSets() })
		c.printf("%s", text)
		return nil
	case "restore", "-R":
		text, err := c.readAll()
		if err != nil {
			return c.fail(1, "%v", err)
		}
		return c.ipsetChange(text)
	}
	return c.ipsetChange(strings.Join(words, " "))
}

func (c *call) ipsetChange(text string) error {
	var err error
	c.do(func() { err = c.host.Netfilter().RestoreSets(text) })
	if err != nil {
		return c.fail(1, "%v", err)
	}
	return nil
}

// ipsetList is ipset list, without the sizes in memory, which are the kernel's
// own.
func (c *call) ipsetList(words []string) error {
	var names, terse bool
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		switch words[0] {
		case "-n", "-name":
			names = true
		case "-t", "-terse":
			terse = true
		default:
			return c.misused("unknown option %s", words[0])
		}
		words = words[1:]
	}
	if len(words) > 1 {
		return c.misused("found %d sets, want one at most", len(words))
	}
	var b strings.Builder
	found := false
	c.do(func() {
		for _, s := range c.host.Netfilter().Sets() {
			if len(words) == 1 && s.Name != words[0] {
				continue
			}
			switch {
			case names:
				b.WriteString(s.Name + "\n")
			default:
				if found {
					b.WriteByte('\n')
				}
				fmt.Fprintf(&b, "Name: %s\nType: %s\nHeader: %s\nReferences: %d\nNumber of entries: %d\n", s.Name, s.Type, s.Options, s.References, len(s.Members))
				if !terse {
					b.WriteString(strings.Join(slices.Concat([]string{"Members:"}, s.Members), "\n") + "\n")
				}
			}
			found = true
		}
	})
	if len(words) == 1 && !found {
		return c.fail(1, "The set with the given name does not exist")
	}
	c.printf("%s", b.String())
	return nil
}
