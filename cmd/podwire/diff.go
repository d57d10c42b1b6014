package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/diff"
)

// diffReport is what podwire diff -o json prints.
type diffReport struct {
	Same       bool            `json:"same"`
	Interfaces []diffInterface `json:"interfaces"`
}

// diffInterface is the comparison of two interfaces. Packets in Differences
// are numbered by file, from 1, as Wireshark does; 0 is none.
type diffInterface struct {
	A           string            `json:"a"` // FILE or FILE#INTERFACE
	B           string            `json:"b"`
	PacketsA    int               `json:"packetsA"`
	PacketsB    int               `json:"packetsB"`
	Differences []diff.Difference `json:"differences"`
}

func newDiff() *cobra.Command {
	var out *output
	var o diff.Options
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two captures of one scenario, field by field",
		Long: `diff pairs the packets of two captures (pcap or pcapng), flow by flow, and reports
in words what differs. What no two runs have in common is compared by rule: MAC
addresses one to one, the client's ports by flow, TCP sequence numbers relative,
IP identifications by their steps, checksums by whether they are right.

FILE#INTERFACE takes one interface of a pcapng file. If neither file names one
and both have several, those of the same name are compared.

It exits with 0 if nothing differs, 1 if something does, 2 if the input is wrong.`,
		Example: `  podwire diff kernel.pcap out.pcapng#node1/cni0
  podwire diff before.pcapng after.pcapng --ignore tcp.window,ip.id
  podwire diff kernel.pcap out.pcapng#node1/eth0 --offload -o json`,
		RunE: func(c *cobra.Command, files []string) error {
			if len(files) != 2 {
				return fmt.Errorf("found %d captures, want two; hint: podwire diff A.pcapng B.pcapng", len(files))
			}
			return compare(c.OutOrStdout(), files[0], files[1], o, *out)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Ignore, "ignore", nil, "fields that may differ: ip.id,tcp.window; packet and order too")
	f.BoolVar(&o.Offload, "offload", false, "tolerate partial checksums, and split segments larger than the MSS")
	f.BoolVar(&o.Strict, "strict", false, "map nothing: compare addresses, ports, ids and sequence numbers as they are")
	f.DurationVar(&o.Timing, "timing", 0, "compare times too, and tolerate this `much`")
	out = addOutput(c)
	return c
}

// captureInterface is one side of a comparison.
type captureInterface struct {
	name    string // FILE or FILE#INTERFACE
	link    pcap.LinkType
	packets []pcap.Packet
	numbers []int // of packets in the file, from 1
}

// compare prints how two captures differ.
func compare(w io.Writer, fileA, fileB string, o diff.Options, out output) error {
	pairs, err := pairInterfaces(fileA, fileB)
	if err != nil {
		return err
	}
	r := diffReport{Same: true, Interfaces: []diffInterface{}}
	for _, p := range pairs {
		a, b := p[0], p[1]
		o.NumbersA, o.NumbersB = a.numbers, b.numbers
		found, err := diff.Captures(a.packets, b.packets, a.link, b.link, o)
		if err != nil {
			return err
		}
		for i := range found.Differences {
			d := &found.Differences[i]
			d.PacketA, d.PacketB = fileNumber(a, d.PacketA), fileNumber(b, d.PacketB)
		}
		r.Interfaces = append(r.Interfaces, diffInterface{a.name, b.name, found.PacketsA, found.PacketsB, found.Differences})
		r.Same = r.Same && found.Same()
	}
	if out == "json" {
		err = writeJSON(w, r)
	} else {
		err = r.write(w)
	}
	if err == nil && !r.Same {
		err = errFailed
	}
	return err
}

func fileNumber(c captureInterface, index int) int {
	if index < 0 {
		return 0
	}
	return c.numbers[index]
}

// write prints the report for people.
func (r *diffReport) write(w io.Writer) error {
	var b strings.Builder
	for _, i := range r.Interfaces {
		if len(r.Interfaces) > 1 && len(i.Differences) == 0 {
			continue
		}
		n := fmt.Sprintf("%d differences", len(i.Differences))
		switch len(i.Differences) {
		case 0:
			n = "no differences"
		case 1:
			n = "1 difference"
		}
		fmt.Fprintf(&b, "%s (%d packets, \"here\") and %s (%d packets, \"there\"): %s\n", i.A, i.PacketsA, i.B, i.PacketsB, n)
		for _, d := range i.Differences {
			fmt.Fprintf(&b, "  %s\n", d.Text)
		}
	}
	if len(r.Interfaces) > 1 && r.Same {
		fmt.Fprintf(&b, "%d interfaces: no differences\n", len(r.Interfaces))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// pairInterfaces reads two captures and says which interfaces to compare.
func pairInterfaces(fileA, fileB string) ([][2]captureInterface, error) {
	a, oneA, err := readInterfaces(fileA)
	if err != nil {
		return nil, err
	}
	b, oneB, err := readInterfaces(fileB)
	if err != nil {
		return nil, err
	}
	switch {
	case oneA && oneB:
		return [][2]captureInterface{{a[0], b[0]}}, nil
	case oneA:
		return nil, severalError(fileB, b)
	case oneB:
		return nil, severalError(fileA, a)
	}
	return sameNames(fileA, fileB, a, b), nil
}

// sameNames pairs interfaces by name. What only one file has is compared with
// nothing.
func sameNames(fileA, fileB string, a, b []captureInterface) [][2]captureInterface {
	var pairs [][2]captureInterface
	left := slices.Clone(b)
	for _, x := range a {
		name := strings.TrimPrefix(x.name, fileA+"#")
		i := slices.IndexFunc(left, func(y captureInterface) bool { return strings.TrimPrefix(y.name, fileB+"#") == name })
		y := captureInterface{name: fileB + "#" + name + " (not there)", link: x.link}
		if i >= 0 {
			y = left[i]
			left = slices.Delete(left, i, i+1)
		}
		pairs = append(pairs, [2]captureInterface{x, y})
	}
	for _, y := range left {
		x := captureInterface{name: fileA + "#" + strings.TrimPrefix(y.name, fileB+"#") + " (not there)", link: y.link}
		pairs = append(pairs, [2]captureInterface{x, y})
	}
	return pairs
}

// severalError asks for an interface.
func severalError(file string, list []captureInterface) error {
	return fmt.Errorf("%s has %d interfaces, want one; hint: name it: %s", file, len(list), interfaceNames(list))
}

func interfaceNames(list []captureInterface) string {
	var names []string
	for _, i := range list {
		names = append(names, i.name)
	}
	return joinWords(names)
}

// readInterfaces reads FILE or FILE#INTERFACE: the interfaces in the order of
// the file. one says that there is one to compare, chosen or alone.
func readInterfaces(arg string) (list []captureInterface, one bool, err error) {
	file, chosen, choice := arg, "", false
	if _, err := os.Stat(arg); err != nil { // a file's own name may have a #
		if f, i, ok := strings.Cut(arg, "#"); ok {
			file, chosen, choice = f, i, true
		}
	}
	c, err := pcap.ReadFile(file)
	if err != nil {
		return nil, false, err
	}
	byName := map[string]int{}
	at := make([]int, len(c.Interfaces))
	for i, f := range c.Interfaces {
		j, ok := byName[f.Name]
		if !ok || f.Name == "" {
			j = len(list)
			byName[f.Name] = j
			list = append(list, captureInterface{name: file + "#" + f.Name, link: f.LinkType})
		}
		if list[j].link != f.LinkType {
			return nil, false, fmt.Errorf("%s: interface %q is described with link types %v and %v, want one", file, f.Name, list[j].link, f.LinkType)
		}
		at[i] = j
	}
	for n, p := range c.Packets {
		i := &list[at[p.Interface]]
		i.packets, i.numbers = append(i.packets, p), append(i.numbers, n+1)
	}
	switch {
	case choice:
		i, ok := byName[chosen]
		if !ok {
			return nil, false, fmt.Errorf("%s has no interface %q, want one of %s", file, chosen, interfaceNames(list))
		}
		return list[i : i+1], true, nil
	case len(list) == 0: // pcapng of nothing
		return []captureInterface{{name: file, link: pcap.Ethernet}}, true, nil
	case len(list) == 1:
		list[0].name = file
		return list, true, nil
	}
	return list, false, nil
}
