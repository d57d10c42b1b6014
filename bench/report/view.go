package report

import (
	"fmt"
	"html/template"
	"path"
	"strconv"
	"strings"

	"github.com/podwire/podwire/bench/faceoff"
)

// A view is the result as the page shows it.
type view struct {
	*faceoff.Result
	Policy  string
	Style   template.CSS
	Scripts []template.JS
	JSON    template.JS // the result, whole
	Charts  template.JS // a drawing: what the scripts need besides

	Title       string
	Overview    *overview
	Network     *network
	Headers     []headers
	Groups      []group
	Timelines   []timeline
	Calibration *calibration
	Settings    []setting
	Download    string // name of the file that the result is saved as
}

// drawing is what the page's scripts draw besides the result itself.
type drawing struct {
	Bars      []*chart   `json:"bars"`
	Timelines []timeline `json:"timelines"`
	Designs   []string   `json:"designs"`
}

func newView(r *faceoff.Result) (*view, error) {
	v := &view{
		Result: r, Style: template.CSS(styleCSS), Scripts: code(),
		Title:       title(r),
		Network:     newNetwork(r),
		Headers:     newHeaders(r),
		Groups:      newGroups(r),
		Timelines:   newTimelines(r),
		Calibration: newCalibration(r),
		Settings:    newSettings(r),
		Download:    slug(r.Scenario.Name) + "-compare.json",
	}
	v.Overview = newOverview(v.Groups, r.Designs)
	v.Policy = policy(v.Scripts)
	d := drawing{Bars: []*chart{}, Timelines: v.Timelines, Designs: []string{}}
	for _, g := range v.Groups {
		d.Bars = append(d.Bars, g.Charts...)
	}
	for _, design := range r.Designs {
		d.Designs = append(d.Designs, design.Name)
	}
	var err error
	if v.JSON, err = data(r); err == nil {
		v.Charts, err = data(d)
	}
	return v, err
}

func title(r *faceoff.Result) string {
	if r.Scenario.Name != "" {
		return r.Scenario.Name
	}
	if r.Scenario.File != "" {
		return path.Base(r.Scenario.File)
	}
	return "comparison"
}

// slug makes a name of letters, digits and hyphens: for files and anchors.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	if s := strings.TrimSuffix(b.String(), "-"); s != "" {
		return s
	}
	return "x"
}

// plural counts things: "1 pod", "3 pods".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// setting is a line of the list of settings.
type setting struct {
	Name, Value string
}

func newSettings(r *faceoff.Result) []setting {
	s := &r.Settings
	clock := "real: figures depend on this host"
	if s.Virtual {
		clock = "virtual: the same seed gives the same figures on every host"
	}
	seeds := make([]string, len(s.Seeds))
	for i, n := range s.Seeds {
		seeds[i] = strconv.FormatUint(n, 10)
	}
	rate := "no cable on the way has one"
	if s.Rate > 0 {
		rate = quantity(faceoff.BitRate, float64(s.Rate))
	}
	list := []setting{
		{"Scenario", join(r.Scenario.Name, parens(r.Scenario.File))},
		{"Traffic", r.Scenario.From + " → " + r.Scenario.To},
		{"Time", clock},
		{"Seeds", strings.Join(seeds, ", ")},
		{"TCP", s.TCP},
		{"CPU model", s.CPU},
		{"Cables", s.Wire},
		{"Slowest cable on the way", rate},
		{"MTU of the underlay", fmt.Sprintf("%d bytes", s.MTU)},
		{"On the wire besides the frame", fmt.Sprintf("%d bytes: preamble, FCS, gap", s.WireOverhead)},
		{"Window of a stream", s.Window.String()},
		{"Measures taken", strings.Join(s.Groups, ", ")},
		{"podwire", s.Podwire},
		{"Go", s.Go},
		{"gVisor", s.GVisor},
	}
	kept := list[:0]
	for _, x := range list {
		if strings.TrimSpace(x.Value) != "" {
			kept = append(kept, x)
		}
	}
	return kept
}

func parens(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}
