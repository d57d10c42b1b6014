package report

import (
	"cmp"
	"math"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/podwire/podwire/bench/faceoff"
)

// A group is a section of measures that belong together.
type group struct {
	Name   string
	Charts []*chart
}

// A chart is one measure of all designs.
type chart struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Short  string `json:"-"`
	Scale  scale  `json:"scale"`
	Better string `json:"better"`
	Bars   []bar  `json:"bars"` // best first; those without a value last

	Measure *faceoff.Measure `json:"-"`
	Hint    string           `json:"-"` // which direction is better, in words
	Arrow   string           `json:"-"` // and as a sign
	Same    string           `json:"-"` // the value, if it is the same for all designs
	Spread  bool             `json:"-"` // seeds differ
}

// bar is a measure of one design.
type bar struct {
	Design string   `json:"design"`
	Value  *float64 `json:"value"`
	Min    *float64 `json:"min,omitempty"`
	Max    *float64 `json:"max,omitempty"`
	Text   string   `json:"text"`
	Number string   `json:"-"`    // Text without its unit
	Diff   string   `json:"diff"` // from the best
	Best   bool     `json:"best"`
	Note   string   `json:"note,omitempty"`

	Range string `json:"-"` // Min to Max, in words
	Share int    `json:"-"` // of the longest bar, in percent
}

// newGroups sorts measures by group, in the order in which groups come, the key
// measures of each first.
func newGroups(r *faceoff.Result) []group {
	var list []group
	for i := range r.Measures {
		m := &r.Measures[i]
		at := slices.IndexFunc(list, func(g group) bool { return g.Name == m.Group })
		if at < 0 {
			at = len(list)
			list = append(list, group{Name: m.Group})
		}
		list[at].Charts = append(list[at].Charts, newChart(m))
	}
	for _, g := range list {
		slices.SortStableFunc(g.Charts, func(a, b *chart) int { return b.rank() - a.rank() })
	}
	return list
}

// rank puts key measures first, and last those in which no two designs differ.
func (c *chart) rank() int {
	switch {
	case c.Measure.Key:
		return 2
	case c.Same == "":
		return 1
	}
	return 0
}

func newChart(m *faceoff.Measure) *chart {
	c := &chart{ID: "m-" + slug(m.ID), Title: capital(m.Title), Short: m.Short, Better: string(m.Better), Measure: m}
	var all []float64
	for _, v := range m.Values {
		if v.Value != nil {
			all = append(all, *v.Value)
		}
	}
	c.Scale = scaleFor(m.Unit, all)
	switch m.Better {
	case faceoff.Lower:
		c.Hint, c.Arrow = "lower is better", "↓"
	case faceoff.Higher:
		c.Hint, c.Arrow = "higher is better", "↑"
	default:
		c.Hint = "neither more nor less is better"
	}
	for _, v := range m.Values {
		c.Bars = append(c.Bars, c.bar(v, all))
		c.Spread = c.Spread || v.Spread != nil && v.Spread.Max > v.Spread.Min
	}
	c.sort()
	c.same(all)
	return c
}

// bar makes the bar of one value among all.
func (c *chart) bar(v faceoff.Value, all []float64) bar {
	b := bar{Design: v.Design, Value: v.Value, Note: v.Note, Text: "none", Number: "none"}
	if v.Value == nil {
		return b
	}
	b.Text, b.Number = c.Scale.text(*v.Value), c.Scale.number(*v.Value)
	if s := v.Spread; s != nil && s.Max > s.Min {
		b.Min, b.Max = &s.Min, &s.Max
		b.Range = c.Scale.number(s.Min) + " to " + c.Scale.text(s.Max)
	}
	if top := slices.Max(all); top > 0 {
		b.Share = max(0, int(math.Round(*v.Value/top*100)))
	}
	c.judge(&b, all)
	return b
}

// judge says how far a bar is from the best.
func (c *chart) judge(b *bar, all []float64) {
	var best float64
	switch faceoff.Better(c.Better) {
	case faceoff.Lower:
		best = slices.Min(all)
	case faceoff.Higher:
		best = slices.Max(all)
	default:
		return
	}
	if slices.Min(all) == slices.Max(all) {
		return
	}
	// Two values that read the same are equal to the reader.
	if b.Best = b.Text == c.Scale.text(best); b.Best {
		b.Diff = "best"
		return
	}
	switch share := *b.Value/best - 1; {
	case best == 0:
		b.Diff = "+" + c.Scale.number(*b.Value)
	case share >= 1:
		b.Diff = "× " + scale{Factor: 1, Decimals: 1}.number(*b.Value/best)
	default:
		b.Diff = percent(share, 1)
	}
}

// sort puts the best first, or what is most where nothing is best.
func (c *chart) sort() {
	slices.SortStableFunc(c.Bars, func(a, b bar) int {
		switch {
		case a.Value == nil && b.Value == nil:
			return 0
		case a.Value == nil:
			return 1
		case b.Value == nil:
			return -1
		case faceoff.Better(c.Better) == faceoff.Lower:
			return cmp.Compare(*a.Value, *b.Value)
		}
		return cmp.Compare(*b.Value, *a.Value)
	})
}

// same notes that every design has the same value, so that the page need not draw
// as many equal bars.
func (c *chart) same(all []float64) {
	if len(all) < len(c.Bars) || len(all) < 2 || c.Spread {
		return
	}
	for _, b := range c.Bars {
		if b.Text != c.Bars[0].Text || b.Note != "" {
			return
		}
	}
	c.Same = c.Bars[0].Text
}

// An overview is the key measures of all designs in one table.
type overview struct {
	Columns []*chart
	Rows    []overviewRow
}

type overviewRow struct {
	Design string
	Cells  []bar // one for each column
	Wins   int   // columns in which it is best
}

// newOverview returns nil if there is nothing to show.
func newOverview(groups []group, designs []faceoff.Design) *overview {
	o := &overview{}
	for _, g := range groups {
		for _, c := range g.Charts {
			if c.Measure.Key {
				o.Columns = append(o.Columns, c)
			}
		}
	}
	if len(o.Columns) == 0 || len(designs) == 0 {
		return nil
	}
	for _, d := range designs {
		row := overviewRow{Design: d.Name}
		for _, c := range o.Columns {
			cell := bar{Design: d.Name, Text: "none", Number: "none"}
			if i := slices.IndexFunc(c.Bars, func(b bar) bool { return b.Design == d.Name }); i >= 0 {
				cell = c.Bars[i]
			}
			if cell.Best {
				row.Wins++
			}
			row.Cells = append(row.Cells, cell)
		}
		o.Rows = append(o.Rows, row)
	}
	return o
}

// heading is a group's name as a heading has it.
func (g group) Heading() string {
	if g.Name == "" {
		return "Others"
	}
	return capital(g.Name)
}

// capital begins a heading with a capital letter.
func capital(s string) string {
	if s == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}
