package faceoff

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// What emulating a frame takes is measured of each design, alone if nothing else
// is asked for, and is said to depend on the host.
func TestHostCost(t *testing.T) {
	designs := []string{"flannel-host-gw", "flannel-vxlan"}
	r := compare(t, example(t), Config{Designs: designs, Groups: []string{GroupHost}})
	m := r.Find("host-packet")
	if len(r.Measures) != 1 || m == nil || !m.HostDependent || !r.Settings.HostDependent {
		t.Fatalf("measures %+v, settings %+v, want the host's alone", r.Measures, r.Settings)
	}
	for _, d := range designs {
		if v := m.Of(d); v == nil || *v <= 0 || *v > 1 {
			t.Errorf("%s: a frame takes %v", d, v)
		}
	}
	validate(t, r)
	var text bytes.Buffer
	if err := r.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); strings.Count(s, "\ndesign") != 1 || !strings.Contains(s, "CPU/packet\nflannel-host-gw") {
		t.Errorf("want one table and no empty one in\n%s", s)
	}
}

// In real time figures are the host's, and where it was the limit a warning says
// so; what only virtual time can tell is not measured.
func TestRealTime(t *testing.T) {
	if raceEnabled {
		t.Skip("a host slowed down tenfold may move nothing in the window")
	}
	designs := []string{"flannel-vxlan"} // real seconds pass
	r := compare(t, scenario(t, "", "400Gbit"), Config{
		Designs: designs, Groups: []string{GroupHeaders, GroupGoodput, GroupHost}, Window: 500 * time.Millisecond, RealTime: true,
	})
	if r.Settings.Virtual || !r.Settings.HostDependent {
		t.Errorf("settings %+v, want real time", r.Settings)
	}
	for _, d := range designs {
		if v := r.Find("goodput").Of(d); v == nil || *v <= 0 {
			t.Errorf("%s: goodput %v", d, v)
		}
		if v := r.Find("host-packet"); v.Of(d) != nil || !strings.HasPrefix(v.Values[0].Note, "only in virtual time") {
			t.Errorf("%s: CPU per packet %+v in real time", d, v.Values)
		}
		// No host moves 400 Gbit/s through this.
		if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, d+": in real time this host was the limit, not the network") {
			t.Errorf("warnings %q, want that the host was the limit under %s", w, d)
		}
	}
	validate(t, r)
}
