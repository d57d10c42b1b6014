package explain

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteText writes the report for people. What was done to the packet stands
// above the place where it shows.
func (r *Report) WriteText(w io.Writer) error {
	to := r.target()
	if a := r.Addr.String(); a != r.To {
		to += " (" + a + ")"
	}
	fmt.Fprintf(w, "%s: %s from %s to %s\n\n", r.Design, r.kind(), r.From, to)
	if len(r.Hops) > 0 {
		var lines strings.Builder
		t := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "TIME\tWHERE\t\tTTL\tPACKET")
		of := ""
		for _, h := range r.Hops {
			if h.Of == "answer" && of != h.Of {
				fmt.Fprintf(t, "\t\t\t\t\n\t\t\t\tthe answer:\n")
			}
			if h.Of != "arp" {
				of = h.Of
			}
			h.write(t)
		}
		t.Flush()
		for line := range strings.Lines(lines.String()) {
			fmt.Fprintln(w, strings.TrimRight(line, " \n"))
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintln(w, r.Verdict)
	return err
}

// write writes the lines of one hop.
func (h *Hop) write(w io.Writer) {
	if h.Note != "" {
		fmt.Fprintf(w, "\t\t\t\t  %s\n", h.Note)
	}
	ttl := make([]string, len(h.TTL))
	for i, n := range h.TTL {
		ttl[i] = strconv.Itoa(n)
	}
	packet := h.Packet
	if h.Drop != "" {
		packet = "DIED: " + h.Drop
	}
	fmt.Fprintf(w, "%v\t%s\t%s\t%s\t%s\n", h.Time, h.place(), h.Direction, strings.Join(ttl, ", "), packet)
}
