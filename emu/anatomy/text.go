package anatomy

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText prints the anatomy for people.
func (a *Anatomy) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n", a.Design, a.Summary)
	fmt.Fprintf(&b, "overhead %d bytes: a pod's MTU is %d on an underlay of 1500\n", a.Overhead, a.MTU)
	for _, warning := range a.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	for _, m := range a.Machines {
		for _, t := range m.text {
			if t.output != "" {
				fmt.Fprintf(&b, "\n%s$ %s\n%s\n", m.Name, t.command, strings.TrimRight(t.output, "\n"))
			}
		}
	}
	fmt.Fprintf(&b, "\nping from %s to %s, point by point; the answer comes in with TTL %d\n", a.From, a.To, a.ReplyTTL)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "POINT\t\tBYTES\tTTL\tPACKET\tETHERNET\tAROUND IT")
	for _, h := range a.Path {
		packet, ttl := h.Source+" > "+h.Target, fmt.Sprint(h.TTL)
		if h.Source == "" {
			packet, ttl = "encrypted", "-"
		}
		if h.OuterTTL != 0 {
			ttl = fmt.Sprintf("%d, %s", h.OuterTTL, ttl)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", h.Point, h.Direction, h.Bytes, ttl, packet, dash(h.Ethernet), dash(h.Outer))
	}
	t.Flush()
	fmt.Fprintf(&b, "\ntraceroute: %s\n", strings.Join(a.Traceroute, ", "))
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
