package bench

import (
	"errors"
	"strings"
	"testing"
)

const twoRuns = `gvisor: v1.2.3
tcp: CUBIC, SACK on
goos: linux
BenchmarkTCP/path=bare-2         	     648	   1798062 ns/op	 500.00 MB/s	   13956 B/op	     700 allocs/op
BenchmarkTCP/path=vxlan-2        	     206	   6355208 ns/op	 200.00 MB/s	   89616 B/op	    1400 allocs/op
BenchmarkTCP/path=bare           	     648	   1798062 ns/op	 300.00 MB/s
BenchmarkTCP/path=vxlan          	     206	   6355208 ns/op	 180.00 MB/s
BenchmarkTCPVirtual/path=vxlan/cable=1Gbit-2	1	1434014508 ns/op	46.80 MB/s	0.4128 vsec/s
BenchmarkVirtualTime/load=1Gbit-2	1	1434014508 ns/op	0.6974 vsec/s	0.7521 vsec/cpu-s
BenchmarkVirtualTime/load=idle-2	62	  18048539 ns/op	     55406 vsec/s
BenchmarkOther-2                 	      62	  2500000000 ns/op
PASS
ok  	github.com/podwire/podwire/bench	10.404s
goos: darwin
BenchmarkTCP/path=bare-2         	     648	   1798062 ns/op	 250.00 MB/s	   13956 B/op	     700 allocs/op
BenchmarkTCP/path=vxlan-2        	     206	   6355208 ns/op	 105.00 MB/s	   89616 B/op	    1400 allocs/op
PASS
`

const twoRunsTable = `gvisor: v1.2.3
tcp: CUBIC, SACK on
goos: linux

TCP, one stream, wall time; allocations per MiB
  benchmark                            value              spread  to bare  budget
  path=bare (2 CPUs)                   3.00 Gbit/s        ±33%
                                       700 allocs/op      ±0%
  path=vxlan (2 CPUs)                  1.22 Gbit/s        ±31%    0.41     >= 0.50: MISSED
                                       1400 allocs/op     ±0%     2.00
  path=bare (1 CPU)                    2.40 Gbit/s
  path=vxlan (1 CPU)                   1.44 Gbit/s                0.60     >= 0.50: met

TCP, one stream, virtual time, per second of wall time
  benchmark                            value              spread  to bare  budget
  path=vxlan/cable=1Gbit (2 CPUs)      0.37 Gbit/s                0.09
                                       0.413 vsec/s

virtual seconds in a second of wall time, and in one of CPU time
  benchmark                            value              spread  to bare  budget
  load=1Gbit (2 CPUs)                  0.697 vsec/s                        >= 1.00: MISSED
                                       0.752 vsec/cpu-s
  load=idle (2 CPUs)                   55406 vsec/s

Other
  benchmark                            value              spread  to bare  budget
  Other (2 CPUs)                       2.50 s/op
`

// The machine was half as fast in the second run. The ratio is that of each
// run, 0.40 and 0.42, not of the medians.
func TestReportPairsMeasurementsOfOneRun(t *testing.T) {
	got, err := Report(strings.NewReader(twoRuns))
	if err != nil {
		t.Fatal(err)
	}
	if squeeze(got) != squeeze(twoRunsTable) {
		t.Errorf("Report =\n%s\nwant, but for the width of columns:\n%s", got, twoRunsTable)
	}
}

// squeeze makes runs of spaces one.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return strings.Join(lines, "\n")
}

func TestReportWithoutTheBarePairKnowsNoRatio(t *testing.T) {
	got, err := Report(strings.NewReader("BenchmarkTCP/path=vxlan-8 1 5 ns/op 10 MB/s\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := ">= 0.50: not known"; !strings.Contains(got, want) {
		t.Errorf("Report =\n%s\nwant %q in it", got, want)
	}
}

func TestVerdictNeedsAllMeasurementsToAgree(t *testing.T) {
	b := budget{least: 0.5}
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{nil, "not known"},
		{[]float64{0.5}, "met"},
		{[]float64{0.49, 0.1}, "MISSED"},
		{[]float64{0.9, 0.4, 0.8}, "unclear, 0.40 to 0.90"},
	} {
		if got := b.verdict(c.values); got != c.want {
			t.Errorf("budget of 0.5, measurements %v: %s, want %s", c.values, got, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, input string
		want        error
		text        string
	}{
		{"nothing", "", ErrEmpty, "bench: no results in the input"},
		{"no results", "goos: linux\nPASS\n", ErrEmpty, "bench: no results in the input"},
		{"a failure after results", "BenchmarkX 1 5 ns/op\n--- FAIL: BenchmarkY\n", ErrFailed, "bench: the benchmarks failed: --- FAIL: BenchmarkY (line 2)"},
		{"a build failure", "FAIL\tgithub.com/x [build failed]\n", ErrFailed, "bench: the benchmarks failed: FAIL\tgithub.com/x [build failed] (line 1)"},
		{"a panic", "panic: oh\n", ErrFailed, "bench: the benchmarks failed: panic: oh (line 1)"},
		{"a value that is no number", "BenchmarkX 1 five ns/op\n", nil, `bench: X: value "five" of unit ns/op, want a number (line 1)`},
		{"a value without end", "BenchmarkX 1 +Inf ns/op\n", nil, `bench: X: value "+Inf" of unit ns/op, want a number (line 1)`},
	} {
		_, err := Parse(strings.NewReader(c.input))
		if err == nil || err.Error() != c.text || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: Parse(%q) = %v, want %s", c.name, c.input, err, c.text)
		}
	}
}

func TestNamesAndProcessors(t *testing.T) {
	for _, c := range []struct {
		in, name string
		procs    int
	}{
		{"X", "X", 1},
		{"X-8", "X", 8},
		{"X/path=same-node", "X/path=same-node", 1},
		{"X/path=same-node-16", "X/path=same-node", 16},
		{"X-", "X-", 1},
		{"X-0", "X-0", 1},
		{"X-+2", "X-+2", 1},
	} {
		if name, procs := splitProcs(c.in); name != c.name || procs != c.procs {
			t.Errorf("splitProcs(%q) = %q, %d, want %q, %d", c.in, name, procs, c.name, c.procs)
		}
	}
}

// A result without the version of gVisor is not comparable: what a run prints
// names the version of gVisor.
func TestGVisorVersionIsKnown(t *testing.T) {
	if v := gvisorVersion(); !strings.HasPrefix(v, "v0.") {
		t.Errorf("gVisor's version = %q, want one that begins with v0.", v)
	}
}

func FuzzReport(f *testing.F) {
	f.Add(twoRuns)
	f.Add("BenchmarkX-2 1 0 MB/s 1e308 ns/op\nBenchmarkX-2 1 -0 MB/s -1e308 ns/op\n")
	f.Add("BenchmarkTCP/path=bare 1 0 MB/s\nBenchmarkTCP/path=vxlan 1 3 MB/s\n")
	f.Add("BenchmarkTCP/path=bare 1 1e-320 MB/s\nBenchmarkTCP/path=vxlan 1 1e18 MB/s\nBenchmarkTCP/path=vxlan 1 -1e18 MB/s\n")
	f.Add("Benchmark 1 2 3\nBenchmark- 1 2 3\nBenchmark/ 1 2 3\nBenchmark-2 1 1 ns/op\n")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := Parse(strings.NewReader(in))
		if err != nil {
			return
		}
		text := r.String()
		for _, bad := range []string{"NaN", "Inf"} {
			if strings.Contains(text, bad) && !strings.Contains(in, bad) {
				t.Errorf("report of %q has %s in it:\n%s", in, bad, text)
			}
		}
	})
}
