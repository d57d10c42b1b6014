package report

import (
	"fmt"
	"testing"

	"github.com/podwire/podwire/bench/faceoff"
)

func TestScale(t *testing.T) {
	for _, test := range []struct {
		unit   faceoff.Unit
		values []float64
		want   string // of the first value
	}{
		{faceoff.BitRate, []float64{9.0716e9, 9.404e9}, "9.072 Gbit/s"},
		{faceoff.BitRate, []float64{907.2e6, 1e9}, "0.907 Gbit/s"},
		{faceoff.Seconds, []float64{20.55e-6, 330.4e-6}, "20.6 µs"},
		{faceoff.Seconds, []float64{0}, "0 s"},
		{faceoff.Seconds, []float64{2}, "2 s"},
		{faceoff.Seconds, []float64{40.6e-6, 2.001}, "0.000041 s"},
		{faceoff.Share, []float64{.99986, 1}, "99.99 %"},
		{faceoff.Bytes, []float64{1_206_096}, "1,206,096 B"},
		{faceoff.Bytes, []float64{1500}, "1500 B"},
		{faceoff.Count, []float64{39.5, 40}, "39.50"},
		{faceoff.PerSec, []float64{22549}, "22,549 /s"},
		{faceoff.Entries, []float64{-12345}, "−12,345"},
	} {
		want := ""
		for _, r := range test.want {
			if r == ' ' {
				r = '\u00a0'
			}
			want += string(r)
		}
		if got := scaleFor(test.unit, test.values).text(test.values[0]); got != want {
			t.Errorf("%v %s: got %q, want %q", test.values, test.unit, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "0.0 %", .034: "+3.4 %", -.034: "−3.4 %", -.0001: "0.0 %", .0001: "0.0 %"} {
		if got := percent(share, 1); got != want {
			t.Errorf("%v: got %q, want %q", share, got, want)
		}
	}
}

// measure makes a measure of designs a, b, c ...
func measure(better faceoff.Better, values ...float64) *faceoff.Measure {
	m := &faceoff.Measure{ID: "x", Title: "x", Unit: faceoff.Count, Better: better}
	for i, v := range values {
		m.Values = append(m.Values, faceoff.Value{Design: string(rune('a' + i)), Value: &v})
	}
	return m
}

func TestBarsAgainstTheBest(t *testing.T) {
	for _, test := range []struct {
		m    *faceoff.Measure
		want string
	}{
		{measure(faceoff.Lower, 11, 10, 40), "b best, a +10.0 %, c × 4.0, "},
		{measure(faceoff.Higher, 9, 10), "b best, a −10.0 %, "},
		{measure(faceoff.Lower, 0, 7), "a best, b +7, "},
		{measure(faceoff.Neither, 1, 2), "b , a , "},
		{measure(faceoff.Lower, 3, 3), "a , b , "},
	} {
		got := ""
		for _, b := range newChart(test.m).Bars {
			got += b.Design + " " + b.Diff + ", "
		}
		if got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// A design without a value comes last and says why; bars that are all the same
// are told in a sentence, unless one is missing.
func TestMissingValue(t *testing.T) {
	m := measure(faceoff.Lower, 5, 5, 5)
	if c := newChart(m); c.Same != "5" {
		t.Errorf("three values of 5: same is %q, want 5", c.Same)
	}
	m.Values[0].Value, m.Values[0].Note = nil, "no tunnel"
	c := newChart(m)
	if last := c.Bars[2]; last.Design != "a" || last.Note != "no tunnel" || last.Text != "none" {
		t.Errorf("last is %+v, want a with its note", last)
	}
	if c.Same != "" {
		t.Errorf("same is %q though a has no value", c.Same)
	}
}

func TestPodsAreGrouped(t *testing.T) {
	r := &faceoff.Result{Scenario: faceoff.Scenario{From: "web-3", To: "db"}}
	r.Topology.Segments = []faceoff.Segment{{Name: "lan"}}
	add := func(node string, n int) {
		r.Topology.Machines = append(r.Topology.Machines, faceoff.Machine{Name: node, Kind: "node"})
		r.Topology.Links = append(r.Topology.Links, faceoff.Link{Machine: node, Segment: "lan"})
		for range n {
			r.Topology.Pods = append(r.Topology.Pods, faceoff.Pod{Name: fmt.Sprintf("web-%d", len(r.Topology.Pods)), Node: node})
		}
	}
	add("node1", 50)
	r.Topology.Pods = append(r.Topology.Pods, faceoff.Pod{Name: "db", Node: "node1"})
	if got, want := fmt.Sprint(newNetwork(r).Segments[0].Machines[0].Pods), "[{web 49 } {web-3 1 sends} {db 1 receives}]"; got != want {
		t.Errorf("pods of node1: got %s, want %s", got, want)
	}

	// Of many nodes that are alike one is drawn; node1 is like no other.
	for i := range 20 {
		add(fmt.Sprintf("node%d", i+2), 2)
	}
	list := newNetwork(r).Segments[0].Machines
	if len(list) != 2 || list[1].Hidden != 19 {
		t.Errorf("%d machines are drawn, want node1 and one for 20", len(list))
	}
}
