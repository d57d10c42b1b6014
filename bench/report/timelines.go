package report

import (
	"slices"

	"github.com/podwire/podwire/bench/faceoff"
)

// A timeline is the curves of all designs in one chart.
type timeline struct {
	ID     string  `json:"id"`
	Series string  `json:"series"` // Series.ID and
	Name   string  `json:"name"`   // Series.Name of its curves
	Title  string  `json:"title"`
	Scale  scale   `json:"scale"`
	Curves []curve `json:"-"`
}

// curve is a row of the table beside the chart.
type curve struct {
	Design                 string
	Low, Median, High, End string
}

func newTimelines(r *faceoff.Result) []timeline {
	list := []timeline{}
	for i := range r.Series {
		s := &r.Series[i]
		if len(s.Points) == 0 || slices.ContainsFunc(list, func(t timeline) bool { return t.Series == s.ID && t.Name == s.Name }) {
			continue
		}
		list = append(list, newTimeline(r, s))
	}
	return list
}

func newTimeline(r *faceoff.Result, first *faceoff.Series) timeline {
	t := timeline{ID: "t-" + slug(first.ID+" "+first.Name), Series: first.ID, Name: first.Name, Title: capital(first.Title)}
	var all []float64
	same := func(s *faceoff.Series) bool { return s.ID == first.ID && s.Name == first.Name && len(s.Points) > 0 }
	for i := range r.Series {
		if s := &r.Series[i]; same(s) {
			all = append(all, values(s)...)
		}
	}
	t.Scale = scaleFor(first.Unit, all)
	for i := range r.Series {
		s := &r.Series[i]
		if !same(s) {
			continue
		}
		v := values(s)
		end := v[len(v)-1]
		slices.Sort(v)
		t.Curves = append(t.Curves, curve{s.Design, t.Scale.text(v[0]), t.Scale.text(v[len(v)/2]), t.Scale.text(v[len(v)-1]), t.Scale.text(end)})
	}
	return t
}

func values(s *faceoff.Series) []float64 {
	v := make([]float64, len(s.Points))
	for i, p := range s.Points {
		v[i] = p.Value
	}
	return v
}
