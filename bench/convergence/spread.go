package convergence

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Range is what one figure was over several seeds. Never is the largest there
// is.
type Range struct{ Min, Median, Max time.Duration }

// A Summary is what a design's figures were over several seeds.
type Summary struct {
	Design                                               string
	Seeds                                                int
	NodeAdded, Blip, LinkLost, NodeLost, Withdrawn, Told Range // see Figures
}

// Spread measures a design with as many seeds as n says, from cfg.Seed on.
func Spread(cfg Config, n int) (Summary, error) {
	s := Summary{Design: cfg.Design, Seeds: n}
	var all []Figures
	for range n {
		f, err := Measure(cfg)
		if err != nil {
			return s, fmt.Errorf("seed %d: %w", cfg.Seed, err)
		}
		all = append(all, f)
		cfg.Seed++
	}
	for _, c := range columns {
		*c.of(&s) = rangeOf(all, c.figure)
	}
	return s, nil
}

func rangeOf(all []Figures, figure func(*Figures) time.Duration) Range {
	var list []time.Duration
	for i := range all {
		list = append(list, figure(&all[i]))
	}
	slices.SortFunc(list, func(a, b time.Duration) int { return int(min(1, max(-1, order(a)-order(b)))) })
	return Range{list[0], list[len(list)/2], list[len(list)-1]}
}

// order is where a figure belongs among others: Never comes last.
func order(d time.Duration) time.Duration {
	if d == Never {
		return 1 << 62
	}
	return d
}

// columns are the figures in the order in which a table shows them.
var columns = []struct {
	head   string
	figure func(*Figures) time.Duration
	of     func(*Summary) *Range
}{
	{"node added", func(f *Figures) time.Duration { return f.NodeAdded }, func(s *Summary) *Range { return &s.NodeAdded }},
	{"link back, 5 s", func(f *Figures) time.Duration { return f.Blip }, func(s *Summary) *Range { return &s.Blip }},
	{"link back, 5 min", func(f *Figures) time.Duration { return f.LinkLost }, func(s *Summary) *Range { return &s.LinkLost }},
	{"node back, 5 min", func(f *Figures) time.Duration { return f.NodeLost }, func(s *Summary) *Range { return &s.NodeLost }},
	{"routes withdrawn", func(f *Figures) time.Duration { return f.Withdrawn }, func(s *Summary) *Range { return &s.Withdrawn }},
	{"sender told", func(f *Figures) time.Duration { return f.Told }, func(s *Summary) *Range { return &s.Told }},
}

// WriteTable writes a table in Markdown, a line per design: the median, and in
// brackets the least and the most, where they differ.
func WriteTable(w io.Writer, list []Summary) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 1, ' ', tabwriter.AlignRight|tabwriter.Debug)
	line := func(first string, cell func(i int) string) {
		fmt.Fprintf(t, "\t %s", first)
		for i := range columns {
			fmt.Fprintf(t, "\t %s", cell(i))
		}
		fmt.Fprintln(t, "\t")
	}
	line("design", func(i int) string { return columns[i].head })
	line("---", func(int) string { return "---" })
	for _, s := range list {
		line(s.Design, func(i int) string { return columns[i].of(&s).String() })
	}
	t.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}

// String writes a range with two or three digits.
func (r Range) String() string {
	text := short(r.Median)
	if least, most := short(r.Min), short(r.Max); least != most {
		text += fmt.Sprintf(" (%s to %s)", least, most)
	}
	return text
}

func short(d time.Duration) string {
	switch {
	case d == Never:
		return "never"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
