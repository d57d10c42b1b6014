package faceoff

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteMarkdown writes the result as GitHub reads it.
func (r *Result) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Face-off: %s\n\n", escape(r.Scenario.Name))
	for _, line := range r.head() {
		fmt.Fprintf(&b, "- %s\n", escape(line))
	}
	fmt.Fprintln(&b)
	if t := r.keyTable(); len(t.rows[0]) > 1 {
		t.markdown(&b)
		fmt.Fprintln(&b)
	}
	for _, s := range r.Verdict {
		fmt.Fprintf(&b, "- %s\n", escape(s))
	}
	for _, t := range r.groupTables() {
		fmt.Fprintf(&b, "\n## %s\n\n", t.title)
		t.markdown(&b)
	}
	if len(r.Calibration) > 0 {
		fmt.Fprintf(&b, "\n## Calibration: the emulator held against theory\n\n")
		r.calibrationTable(r.Calibration).markdown(&b)
	}
	r.lists(&b, "\n## %s\n\n", "- %s\n")
	fmt.Fprintf(&b, "\n## What the figures are\n\n")
	for _, m := range r.Measures {
		fmt.Fprintf(&b, "- **%s** (%s): %s %s Limit: %s\n", m.Title, m.Short, m.What, m.How, m.Limit)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteKeyTable writes only the short table, in Markdown: for a README.
func (r *Result) WriteKeyTable(w io.Writer) error {
	var b bytes.Buffer
	r.keyTable().markdown(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (t table) markdown(w io.Writer) {
	for i, row := range t.rows {
		cells := make([]string, len(row))
		for j, c := range row {
			cells[j] = escape(c)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
}

// escape keeps text from being read as Markdown.
func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ", "*", `\*`, "_", `\_`).Replace(s)
}

// WriteCSV writes one line for each measure, design and seed: for programs that
// read tables. Values are in the units of the JSON.
func (r *Result) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{"design", "group", "measure", "unit", "better", "seed", "value", "note"})
	for _, m := range r.Measures {
		for _, v := range m.Values {
			values, seeds := []float64{}, r.Settings.Seeds
			switch {
			case v.Spread != nil:
				values = v.Spread.All
			case v.Value != nil:
				values = []float64{*v.Value}
			}
			if len(values) == 0 {
				c.Write([]string{v.Design, m.Group, m.ID, string(m.Unit), string(m.Better), "", "", v.Note})
			}
			for i, x := range values {
				seed := ""
				if len(values) == len(seeds) {
					seed = strconv.FormatUint(seeds[i], 10)
				}
				c.Write([]string{v.Design, m.Group, m.ID, string(m.Unit), string(m.Better), seed, strconv.FormatFloat(x, 'g', -1, 64), v.Note})
			}
		}
	}
	c.Flush()
	return c.Error()
}
