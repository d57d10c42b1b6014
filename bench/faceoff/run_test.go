package faceoff

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/overlay"
)

// forms is the closed form of every design: what it puts around an IP packet of a
// pod between two nodes of one segment, and what it takes of the MTU. The numbers
// are those of the formats' specifications.
var forms = map[string]struct {
	adds, reserves int
	pads           int // the pod's packet is padded to a multiple of this, up to the MTU
}{
	"flannel-vxlan":               {adds: 20 + 8 + 8 + 14, reserves: 50}, // RFC 7348 §5
	"flannel-vxlan-directrouting": {adds: 0, reserves: 50},
	"flannel-host-gw":             {},
	"flannel-ipip":                {adds: 20, reserves: 20}, // RFC 2003 §3
	"flannel-ipip-directrouting":  {adds: 0, reserves: 20},
	"flannel-udp":                 {adds: 20 + 8, reserves: 28},
	"flannel-wireguard":           {adds: 20 + 8 + 16 + 16, reserves: 80, pads: 16}, // WireGuard §5.4.6
	"calico-vxlan":                {adds: 20 + 8 + 8 + 14, reserves: 50},
	"calico-vxlan-crosssubnet":    {adds: 0, reserves: 50},
	"calico-ipip":                 {adds: 20, reserves: 20},
	"calico-ipip-crosssubnet":     {adds: 0, reserves: 20},
	"calico-bgp":                  {},
	"calico-bgp-rr":               {},
}

// Overhead, MTU, MSS and goodput of every design that fits the example are those
// of the closed form, within half a percent.
func TestClosedForm(t *testing.T) {
	if raceEnabled {
		t.Skip("figures are the same under the race detector; TestSameSeedSameBytes runs labs side by side")
	}
	const (
		mtu, rate  = 1500, 10e9
		onTheCable = 14 + 8 + 4 + 12 // Ethernet header; preamble, FCS and gap (IEEE 802.3)
		headers    = 20 + 32         // IPv4, TCP with timestamps
	)
	r := compare(t, example(t), Config{Groups: []string{GroupHeaders, GroupGoodput}, Window: time.Millisecond, Parallel: 2})
	for _, d := range r.Designs {
		form, ok := forms[d.Name]
		if !ok {
			t.Errorf("%s: the test has no closed form of this design, add one", d.Name)
			continue
		}
		podMTU := mtu - form.reserves
		payload := podMTU - 40 - 12 // timestamps
		packet := headers + payload
		if form.pads > 0 {
			packet = min(podMTU, (packet+form.pads-1)/form.pads*form.pads)
		}
		want := map[string]float64{
			"encapsulation": float64(form.adds + packet - headers - payload), "headers": float64(14 + form.adds + packet - payload),
			"mtu": float64(podMTU), "mss": float64(podMTU - 40), "payload": float64(payload),
			"goodput": rate * float64(payload) / float64(onTheCable+form.adds+packet),
		}
		for id, want := range want {
			got := r.Find(id).Of(d.Name)
			switch {
			case got == nil:
				t.Errorf("%s: %s was not measured", d.Name, id)
			case math.Abs(*got/max(want, 1)-want/max(want, 1)) > 0.005:
				t.Errorf("%s: %s is %v, want %v within 0.5 %%", d.Name, id, *got, want)
			}
		}
		checkLayers(t, d, form.adds+packet-headers-payload)
	}
	for _, d := range overlay.Designs() {
		fits := slices.ContainsFunc(r.Designs, func(x Design) bool { return x.Name == d.Name })
		if fits == d.Standalone {
			t.Errorf("%s fits: %v, want %v", d.Name, fits, !d.Standalone)
		}
	}
	for _, c := range r.Calibration {
		if !c.Agrees {
			t.Errorf("%s: %s is %v, theory says %v: %s", c.Design, c.Title, c.Measured, c.Theory, c.Formula)
		}
	}
	if len(r.Warnings) > 0 {
		t.Errorf("warnings: %q", r.Warnings)
	}
	validate(t, r)
}

// checkLayers: the layers are the whole frame without a gap, and those of the
// tunnel are what the design adds.
func checkLayers(t *testing.T, d Design, adds int) {
	t.Helper()
	if d.Packet == nil {
		t.Errorf("%s: no packet", d.Name)
		return
	}
	at, tunnel := 0, 0
	for _, l := range d.Packet.Layers {
		if l.Offset != at || l.Bytes <= 0 {
			t.Errorf("%s: %s at %d with %d bytes, want it at %d", d.Name, l.Name, l.Offset, l.Bytes, at)
		}
		at += l.Bytes
		if l.Role == RoleTunnel {
			tunnel += l.Bytes
		}
	}
	if at != d.Packet.Bytes || tunnel != adds {
		t.Errorf("%s: layers of %d bytes, %d of them the tunnel's, want %d and %d: %+v", d.Name, at, tunnel, d.Packet.Bytes, adds, d.Packet.Layers)
	}
}

// The same seeds give the same bytes, however many experiments run at one time;
// other seeds give others.
func TestSameSeedSameBytes(t *testing.T) {
	run := func(parallel int, first uint64) (*Result, []byte) {
		r := compare(t, example(t), Config{
			Designs: []string{"flannel-wireguard", "flannel-vxlan"}, Parallel: parallel, Seeds: []uint64{first, first + 1},
			Groups: []string{GroupLatency, GroupLoss, GroupGrowth},
		})
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return r, data
	}
	r, a := run(1, 5)
	_, b := run(2, 5)
	if !bytes.Equal(a, b) {
		t.Errorf("two runs with one seed differ:\n%s\n%s", a, b)
	}
	validate(t, r)
	loss := r.Find("loss-time")
	if s := loss.Values[0].Spread; s == nil || len(s.All) != 2 || s.All[0] == s.All[1] || s.Min == s.Max {
		t.Errorf("spread of %+v over two seeds", loss.Values[0])
	}
	var table bytes.Buffer
	if err := r.WriteCSV(&table); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var seeds []string
	for _, row := range rows {
		if row[0] == "flannel-vxlan" && row[2] == "loss-time" {
			seeds = append(seeds, row[5])
		}
	}
	if !slices.Equal(seeds, []string{"5", "6"}) {
		t.Errorf("CSV has seeds %v of the spread, want 5 and 6", seeds)
	}
}

// A design that cannot join the nodes is left out, with the reason.
func TestUnfit(t *testing.T) {
	r := compare(t, sceneOf(t, "../../examples/racks.yaml"), Config{
		Designs: []string{"docker-bridge", "flannel-host-gw", "flannel-ipip"}, From: "a", To: "c", Groups: []string{GroupHeaders, GroupGoodput},
	})
	reasons := map[string]string{}
	for _, u := range r.Unfit {
		reasons[u.Design] = u.Reason
	}
	if !strings.Contains(reasons["flannel-host-gw"], "is not on the link of eth0") || !strings.Contains(reasons["docker-bridge"], "know nothing of each other") || len(reasons) != 2 {
		t.Errorf("left out: %q", reasons)
	}
	if len(r.Designs) != 1 || r.Designs[0].Name != "flannel-ipip" || !strings.Contains(r.Settings.Wire, "routers in between") {
		t.Errorf("measured %+v on %s", r.Designs, r.Settings.Wire)
	}
	for _, v := range r.Find("goodput").Values { // the cables of that example have no rate
		if v.Value != nil || v.Note != noRate {
			t.Errorf("goodput on cables without a rate: %+v", v)
		}
	}
	_, err := Run(sceneOf(t, "../../examples/racks.yaml"), Config{Designs: []string{"flannel-host-gw"}, From: "a", To: "c"})
	if err == nil || !strings.Contains(err.Error(), "no design fits") {
		t.Errorf("only a design that does not fit: %v", err)
	}
}

// Pods of one node are compared too; what needs a cable is left out.
func TestOneNode(t *testing.T) {
	r := compare(t, sceneOf(t, "../../examples/docker-bridge.yaml"), Config{Designs: []string{"docker-bridge"}, From: "web", To: "shell"})
	m := r.Find("recover-link")
	if m.Values[0].Value != nil || m.Values[0].Note != "both pods are on one node" {
		t.Errorf("recovery of a cable between pods of one node: %+v", m.Values[0])
	}
	if v := r.Find("mtu").Of("docker-bridge"); v == nil || *v != 1500 {
		t.Errorf("MTU %v, want 1500", v)
	}
	validate(t, r)
}

func TestWrongInput(t *testing.T) {
	for want, cfg := range map[string]Config{
		`design "flannel" is not known`: {Designs: []string{"flannel"}},
		`is there twice`:                {Designs: []string{"calico-ipip", "calico-ipip"}},
		`group of measures "speed"`:     {Groups: []string{"speed"}},
		`there is no pod "nobody"`:      {Designs: []string{"calico-ipip"}, From: "nobody"},
		`from and to are both client`:   {Designs: []string{"calico-ipip"}, From: "client", To: "client"},
		`window -1ns`:                   {Window: -1},
	} {
		if _, err := Run(example(t), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %s", cfg, err, want)
		}
	}
}
