package search

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// interval is when a fault holds, relative to the step or the lab.
func (f fault) interval(t *testing.T) (from, to time.Duration) {
	t.Helper()
	at := f.get("at")
	if at == nil {
		at = f.get("with")
	}
	offset := "0s"
	if i := strings.LastIndex(at.Value, "+"); i >= 0 {
		offset = strings.TrimSpace(at.Value[i+1:])
	} else if f.get("at") != nil {
		offset = at.Value
	}
	from, err := time.ParseDuration(offset)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := f.lasts()
	return from, from + d
}

// overlapping breaks when a fault of node1 and one of node2 hold at the same
// time for 100 ms, whatever they are.
func overlapping(t *testing.T, tried *atomic.Int64) Try {
	return func(_ context.Context, faults []string) (o Outcome, err error) {
		tried.Add(1)
		for _, a := range faults {
			for _, b := range faults {
				if !strings.Contains(a, "node1") || !strings.Contains(b, "node2") {
					continue
				}
				x, err := parse(a)
				if err != nil {
					return o, err
				}
				y, err := parse(b)
				if err != nil {
					return o, err
				}
				from, to := x.interval(t)
				from2, to2 := y.interval(t)
				if min(to, to2)-max(from, from2) >= 100*time.Millisecond {
					o.Broken = append(o.Broken, "step 1 recovers")
				}
			}
		}
		return o, nil
	}
}

var schedules = [][]string{
	{"- {at: 1s, down: {link: node1}, for: 300ms}"},
	{"- {at: 0s, down: {link: node1}, for: 1s}", "- {at: 1.2s, crash: {node: node2}, for: 1s}"},
	{
		"- {with: traffic + 137ms, down: {link: web}, for: 300ms}",
		"- {with: traffic + 1.033s, set: {link: node3, loss: 10%}, for: 1.234s}",
		"- {with: traffic + 1.204s, crash: {node: node1}, for: 717ms}",
		"- {with: traffic + 1.401s, partition: [[node3, node5], [node4]], for: 99ms}",
		"- {with: traffic + 1.733s, down: {node: node2}, for: 654ms}",
		"- {with: traffic + 2.5s, restart: {pod: web}}",
	},
	{"- {at: 1s, down: {link: node1}, for: 300ms}", "- {at: 1s, down: {link: node2}, for: 300ms}"},
}

// What is found is the first schedule that breaks, and what it is shrunk to holds
// nothing that is not needed, in round figures; and the same however many are
// tried at a time.
func TestFindAndShrink(t *testing.T) {
	want := []string{"- {with: traffic + 1s, down: {link: node1}, for: 200ms}", "- {with: traffic + 1s, down: {link: node2}, for: 100ms}"}
	for _, parallel := range []int{1, 2, 7} {
		var tried atomic.Int64
		s := New(overlapping(t, &tried), parallel)
		found, err := s.Find(t.Context(), len(schedules), func(i uint64) []string { return schedules[i] })
		if err != nil || found == nil || found.Index != 2 {
			t.Fatalf("%d at a time: found %+v, %v, want the third", parallel, found, err)
		}
		small, err := s.Shrink(t.Context(), found)
		if err != nil {
			t.Fatal(err)
		}
		if len(small.Faults) != 2 || len(small.Outcome.Broken) != 1 {
			t.Errorf("%d at a time: shrunk to %q, which breaks %q; want two faults that break one thing", parallel, small.Faults, small.Outcome.Broken)
		}
		if parallel == 1 {
			want = small.Faults
		}
		if !slices.Equal(small.Faults, want) {
			t.Errorf("%d at a time: shrunk to %q, want %q as one at a time", parallel, small.Faults, want)
		}
		for i := range small.Faults {
			less := slices.Delete(slices.Clone(small.Faults), i, i+1)
			if o, _ := overlapping(t, &tried)(t.Context(), less); len(o.Broken) > 0 {
				t.Errorf("%q breaks it too", less)
			}
			if strings.Contains(small.Faults[i], "crash") || strings.Contains(small.Faults[i], "node: ") {
				t.Errorf("%s, want the simpler fault of a link", small.Faults[i])
			}
			f, err := parse(small.Faults[i])
			if err != nil {
				t.Fatal(err)
			}
			if d, _ := f.lasts(); d > 500*time.Millisecond || digits(d) > 1 {
				t.Errorf("%s lasts %v, want a short, round time", small.Faults[i], d)
			}
		}
		if n := int(tried.Load()); n > 200 {
			t.Errorf("%d runs, want at most 200", n)
		}
	}
}

func TestNothingFound(t *testing.T) {
	var tried atomic.Int64
	s := New(overlapping(t, &tried), 2)
	found, err := s.Find(t.Context(), 2, func(i uint64) []string { return schedules[i] })
	if found != nil || err != nil || s.Runs() != 2 {
		t.Errorf("found %+v, %v after %d runs, want nothing after 2", found, err, s.Runs())
	}
	boom := errors.New("boom")
	s = New(func(context.Context, []string) (Outcome, error) { return Outcome{}, boom }, 2)
	if _, err := s.Find(t.Context(), 2, func(i uint64) []string { return schedules[i] }); !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

// What cannot be carried out is no finding.
func TestInvalidIsNoFinding(t *testing.T) {
	s := New(func(_ context.Context, faults []string) (Outcome, error) {
		return Outcome{Broken: []string{"step 1 loss"}, Invalid: len(faults) < 2}, nil
	}, 1)
	found, err := s.Find(t.Context(), len(schedules), func(i uint64) []string { return schedules[i] })
	if err != nil || found == nil || found.Index != 1 {
		t.Fatalf("found %+v, %v, want the second, which has two faults", found, err)
	}
	if small, err := s.Shrink(t.Context(), found); err != nil || len(small.Faults) != 2 {
		t.Errorf("shrunk to %+v, %v, want both faults", small, err)
	}
}

func TestSimpler(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"- {at: 1s, crash: {node: node1}, for: 1s}", []string{"- {at: 1s, down: {node: node1}, for: 1s}"}},
		{"- {at: 1s, down: {node: node1}, for: 1s}", []string{"- {at: 1s, down: {link: node1}, for: 1s}"}},
		{"- {at: 1s, partition: [[a, b], [c]], for: 1s}", []string{"- {at: 1s, partition: [[b], [c]], for: 1s}", "- {at: 1s, partition: [[a], [c]], for: 1s}"}},
		{"- {at: 1s, partition: []}", nil},
		{"- {at: 1s, restart: {pod: a}}", nil},
	} {
		f, err := parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range f.simpler() {
			got = append(got, s.String())
		}
		if !slices.Equal(got, c.want) || f.String() != c.in {
			t.Errorf("%s: got %q, want %q", c.in, got, c.want)
		}
	}
	for _, bad := range []string{"", "x", "- x", "- {a: 1}\n- {b: 1}", "- {"} {
		if f, err := parse(bad); err == nil {
			t.Errorf("parse(%q): %v, want an error", bad, f)
		}
	}
}
