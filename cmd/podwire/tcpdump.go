package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/text"
)

// dumpFlags are the flags of podwire tcpdump.
type dumpFlags struct {
	labFlags
	points  []string
	count   int
	numbers bool
	printer text.Printer
	stamps  text.Stamps
}

// dumpedPacket is one packet in podwire tcpdump -o json.
type dumpedPacket struct {
	Number    int       `json:"number"` // in the file, from 1
	Time      time.Time `json:"time"`
	Interface string    `json:"interface,omitempty"`
	Direction string    `json:"direction,omitempty"`
	ID        uint64    `json:"id,omitempty"` // the same wherever the packet passes
	Text      string    `json:"text"`
	Comments  []string  `json:"comments,omitempty"`
}

func newTcpdump() *cobra.Command {
	var f dumpFlags
	c := &cobra.Command{
		Use:   "tcpdump FILE [EXPRESSION]",
		Short: "Print packets as tcpdump does: of a capture, or of any point of a lab while its steps are played",
		Long: `tcpdump prints a line for each packet of a capture (pcap or pcapng), or of a
scenario, whose steps it plays. Interfaces are chosen by -i, packets by an
expression in tcpdump's language:

  host A, net N, port P, portrange P-Q, with src or dst and tcp, udp, ip or arp before
  icmp, tcp, udp, arp, ip, ip6, vlan, less N, greater N, ether host MAC
  tcp[tcpflags] & tcp-syn != 0, ip[8] < 64
  and, or, not, parentheses

Where there are several interfaces, the name and the direction stand in front.`,
		Example: `  podwire tcpdump out.pcapng
  podwire tcpdump out.pcapng -ne -i node1/flannel.1 'icmp and host 10.244.2.2'
  podwire tcpdump examples/quickstart.yaml -i 'node1/*' tcp port 80 or udp port 8472`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("found no file, want a capture or a scenario: %s", c.UseLine())
			}
			return f.dump(c, args[0], strings.Join(args[1:], " "))
		},
	}
	fs := c.Flags()
	fs.StringSliceVarP(&f.points, "interface", "i", nil, "only these `interfaces`; patterns such as node1/* too")
	fs.IntVarP(&f.count, "count", "c", 0, "end after so many `packets`")
	fs.BoolVarP(&f.numbers, "numeric", "n", false, "print addresses, not the names that the capture has for them")
	fs.BoolVarP(&f.printer.Ether, "ether", "e", false, "print MAC addresses")
	fs.BoolVarP(&f.printer.Verbose, "verbose", "v", false, "print the IP header and checksums")
	fs.BoolVarP(&f.printer.Absolute, "absolute", "S", false, "print TCP sequence numbers as they are on the wire")
	fs.CountVarP(&f.stamps.Style, "time", "t", "no time; -tt since 1970, -ttt since the packet before, -tttt with date, -ttttt since the first")
	fs.BoolVar(&f.stamps.Nano, "nano", false, "print nanoseconds")
	fs.IntVar(&f.after, "after", -1, "of a scenario: play only the first `N` steps")
	f.addBuild(c)
	f.output = addOutput(c)
	return c
}

// dump prints one file.
func (f *dumpFlags) dump(c *cobra.Command, file, expr string) error {
	if f.stamps.Style > text.MaxStyle || f.count < 0 {
		return fmt.Errorf("-t comes up to %d times, -c takes a number of packets", text.MaxStyle)
	}
	for _, p := range f.points {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("-i %q: %w", p, err)
		}
	}
	if _, err := text.ParseFilter(expr, anyName); err != nil {
		return err // before a lab is built
	}
	capture, err := f.read(c, file)
	if err != nil {
		return err
	}
	filter, err := text.ParseFilter(expr, nameResolver(capture.Names))
	if err != nil {
		return err
	}
	if !f.numbers {
		names := map[netip.Addr]string{}
		for _, n := range capture.Names {
			names[n.Addr] = cmp.Or(names[n.Addr], n.Name)
		}
		f.printer.Name = func(a netip.Addr) string { return names[a] }
	}
	return f.print(c.OutOrStdout(), capture, filter)
}

// read reads a capture, or makes one of a scenario.
func (f *dumpFlags) read(c *cobra.Command, file string) (*pcap.Capture, error) {
	if ext := filepath.Ext(file); ext != ".yaml" && ext != ".yml" {
		capture, err := pcap.ReadFile(file)
		if err != nil {
			return nil, err
		}
		return capture, nil
	}
	var packets bytes.Buffer
	f.onBuild = func(lab *emu.Lab) error {
		_, err := lab.Capture(&packets, emu.CaptureConfig{Points: f.points})
		return err
	}
	if err := f.with(c, file, func(*emu.Lab) error { return nil }); err != nil {
		return nil, err
	}
	return pcap.ReadAll(&packets)
}

func anyName(string) (netip.Addr, bool) { return netip.IPv4Unspecified(), true }

// nameResolver finds what a capture calls an address: as it is written there, or
// without the namespace.
func nameResolver(names []pcap.Name) func(string) (netip.Addr, bool) {
	return func(want string) (netip.Addr, bool) {
		for _, n := range names {
			if n.Name == want || strings.TrimPrefix(n.Name, "default.") == want || strings.TrimSuffix(n.Name, ".default.svc.cluster.local") == want {
				return n.Addr, true
			}
		}
		return netip.Addr{}, false
	}
}

// chosen reports whether -i wants an interface.
func (f *dumpFlags) chosen(name string) bool {
	return len(f.points) == 0 || slices.ContainsFunc(f.points, func(p string) bool {
		ok, _ := path.Match(p, name)
		return ok || p == "any"
	})
}

// print prints the packets that are wanted.
func (f *dumpFlags) print(w io.Writer, capture *pcap.Capture, filter *text.Filter) error {
	var names []string
	for _, i := range capture.Interfaces {
		if f.chosen(i.Name) && !slices.Contains(names, i.Name) {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 && len(capture.Interfaces) > 0 {
		return fmt.Errorf("-i %s: found no such interface, want one of %s", strings.Join(f.points, ","), interfaceList(capture))
	}
	list := []dumpedPacket{}
	shown := 0
	for n, p := range capture.Packets {
		iface := capture.Interfaces[p.Interface]
		if !f.chosen(iface.Name) || !filter.Match(iface.LinkType, p.Data) {
			continue
		}
		if shown++; f.count > 0 && shown > f.count {
			break
		}
		line := f.printer.Packet(iface.LinkType, p.Data, p.OrigLen)
		if *f.output == "json" {
			list = append(list, dumpedPacket{n + 1, p.Time, iface.Name, p.Direction.String(), p.ID, line, p.Comments})
			continue
		}
		head := f.stamps.Next(p.Time)
		if len(names) > 1 {
			head += fmt.Sprintf("%-5s %-3s ", iface.Name, map[pcap.Direction]string{pcap.In: "In", pcap.Out: "Out"}[p.Direction])
		}
		if _, err := fmt.Fprintf(w, "%s%s\n", head, line); err != nil {
			return err
		}
	}
	if *f.output == "json" {
		return writeJSON(w, list)
	}
	return nil
}

func interfaceList(capture *pcap.Capture) string {
	var names []string
	for _, i := range capture.Interfaces {
		if !slices.Contains(names, i.Name) {
			names = append(names, i.Name)
		}
	}
	return joinWords(names)
}
