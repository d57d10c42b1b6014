package topo

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	yaml "go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"
)

func TestUnits(t *testing.T) {
	type parse func(string) (any, error)
	duration := func(s string) (any, error) { return ParseDuration(s) }
	rate := func(s string) (any, error) { return ParseRate(s) }
	size := func(s string) (any, error) { return ParseSize(s) }
	percent := func(s string) (any, error) { return ParsePercent(s) }
	cases := []struct {
		name string
		f    parse
		in   string
		want any // nil: an error
	}{
		{"duration", duration, "200us", 200 * time.Microsecond}, {"duration", duration, "1h2m", 62 * time.Minute}, {"duration", duration, "0", time.Duration(0)},
		{"duration", duration, "200", nil}, {"duration", duration, "-1s", nil}, {"duration", duration, "", nil}, {"duration", duration, "1e9s", nil},
		{"rate", rate, "10Gbit", uint64(1e10)}, {"rate", rate, "100Mbit/s", uint64(1e8)}, {"rate", rate, "1.5gbps", nil}, {"rate", rate, "1.5Gbitps", uint64(15e8)}, {"rate", rate, "8bit", uint64(8)},
		{"rate", rate, "10", nil}, {"rate", rate, "0Mbit", nil}, {"rate", rate, "-1Mbit", nil}, {"rate", rate, "NaNMbit", nil}, {"rate", rate, "99999999999Tbit", nil}, {"rate", rate, "0x10Mbit", nil}, {"rate", rate, "Mbit", nil},
		{"size", size, "1500", uint64(1500)}, {"size", size, "64KiB", uint64(65536)}, {"size", size, "64kB", uint64(64000)}, {"size", size, "1 MiB", uint64(1 << 20)}, {"size", size, "100B", uint64(100)},
		{"size", size, "-1", nil}, {"size", size, "", nil}, {"size", size, "10GiBs", nil}, {"size", size, "9223372036854775808", nil},
		{"percent", percent, "1%", 0.01}, {"percent", percent, "0.5 %", 0.005}, {"percent", percent, "100%", 1.0},
		{"percent", percent, "1", nil}, {"percent", percent, "101%", nil}, {"percent", percent, "-1%", nil}, {"percent", percent, "NaN%", nil},
	}
	for _, c := range cases {
		got, err := c.f(c.in)
		if c.want == nil {
			if err == nil {
				t.Errorf("%s %q: got %v, want an error", c.name, c.in, got)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s %q: got %v, %v, want %v", c.name, c.in, got, err, c.want)
		}
	}
	if v, err := ParseRate("9223372Tbit"); err != nil || v > math.MaxInt64 {
		t.Errorf("got %d, %v", v, err)
	}
}

// The conversion that kubectl itself uses is the reference for what a YAML scalar
// becomes in JSON.
func TestScalarsBecomeTheJSONThatKubectlSends(t *testing.T) {
	for _, s := range []string{
		"80", "010", "0x1F", "0b11", "0o17", "1_000", "-5", "+5", "1.5", "1e3", ".5", "5.", "yes", "no", "on", "off", "y", "N", "true", "True", "TRUE",
		"tRue", "null", "~", "Null", `"80"`, "'yes'", "80 // x", "1.2.3", "2026-01-02", "0", "-0", "08", "1e", "e3", "_1", "12e03", "10.244.0.0/16", "!!str 80", "abc", "1:20",
	} {
		want, err := k8syaml.YAMLToJSON([]byte("v: " + s))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte("v: "+s), &doc); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		got, err := json.Marshal(jsonValue(doc.Content[0]))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: got %s, %v, want %s", s, got, err, want)
		}
	}
}
