package anatomy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/podwire/podwire/overlay"
)

func of(t *testing.T, design string) *Anatomy {
	t.Helper()
	var a *Anatomy
	synctest.Test(t, func(t *testing.T) {
		var err error
		if a, err = Of(design, synctest.Wait); err != nil {
			t.Fatal(err)
		}
	})
	return a
}

// A3: the path table of flannel's VXLAN.
func TestA3PathTable(t *testing.T) {
	a := of(t, "flannel-vxlan")
	var got []string
	for _, h := range a.Path {
		got = append(got, fmt.Sprintf("%s %s, %s, TTL %d outside %d", h.Point, h.Direction, h.Ethernet, h.TTL, h.OuterTTL))
	}
	want := []string{
		"p1a/eth0 out, p1a/eth0 > node1/cni0, TTL 64 outside 0",
		"node1/veth(p1a) in, p1a/eth0 > node1/cni0, TTL 64 outside 0",
		"node1/cni0 in, p1a/eth0 > node1/cni0, TTL 64 outside 0",
		"node1/flannel.1 out, node1/flannel.1 > node2/flannel.1, TTL 63 outside 0",
		"node1/eth0 out, node1/eth0 > node2/eth0, TTL 63 outside 64",
		"node2/eth0 in, node1/eth0 > node2/eth0, TTL 63 outside 64",
		"node2/flannel.1 in, node1/flannel.1 > node2/flannel.1, TTL 63 outside 0",
		"node2/cni0 out, node2/cni0 > p2a/eth0, TTL 62 outside 0",
		"node2/veth(p2a) out, node2/cni0 > p2a/eth0, TTL 62 outside 0",
		"p2a/eth0 in, node2/cni0 > p2a/eth0, TTL 62 outside 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("path\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if outer := a.Path[4].Outer; outer != "192.168.56.11 > 192.168.56.12 VXLAN 1 (UDP 8472), node1/flannel.1 > node2/flannel.1" {
		t.Errorf("around it: %s", outer)
	}
	if got := strings.Join(a.Traceroute, " "); got != "10.244.1.1 10.244.2.0 10.244.2.2" {
		t.Errorf("traceroute %s", got)
	}
}

// Every design can be taken apart; the JSON holds the tables, the text what the
// tools print.
func TestEveryDesign(t *testing.T) {
	for _, d := range overlay.Designs() {
		t.Run(d.Name, func(t *testing.T) {
			a := of(t, d.Name)
			if a.MTU != 1500-d.Overhead || len(a.Path) == 0 || len(a.Traceroute) == 0 || len(a.Warnings) > 0 {
				t.Errorf("MTU %d, path %v, traceroute %v, warnings %v", a.MTU, a.Path, a.Traceroute, a.Warnings)
			}
			if last := a.Path[len(a.Path)-1]; last.Point != a.To+"/eth0" || last.TTL != a.ReplyTTL {
				t.Errorf("the path ends %+v, want at %s with TTL %d", last, a.To, a.ReplyTTL)
			}
			for _, m := range a.Machines {
				var devices []struct {
					Name string `json:"ifname"`
				}
				if err := json.Unmarshal(m.Devices, &devices); err != nil || len(devices) < 2 || devices[0].Name != "lo" {
					t.Errorf("%s: devices %s: %v", m.Name, m.Devices, err)
				}
			}
			var text bytes.Buffer
			if err := a.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{d.Name + ": ", "node1$ ip route\n", "p1a$ ip route\n", "traceroute: " + a.Traceroute[0]} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("no %q in\n%s", want, &text)
				}
			}
			if _, err := json.Marshal(a); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := Of("no such design", nil); err == nil {
		t.Error("an unknown design: no error")
	}
}
