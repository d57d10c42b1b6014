package shell_test

import (
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/overlay"
)

// birdcl prints sessions and paths as BIRD 1.6 does.
func TestBirdcl(t *testing.T) {
	emutest.Run(t, emu.Config{Design: "calico-bgp-rr", Nodes: 4, Seed: 1, BGP: overlay.BGP{Reflectors: []string{"node1"}}}, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("p3", "node3")
		lab.Pod("p4", "node4")
		h := host{t, lab}
		const ready = "BIRD v0.3.3+birdv1.6.8 ready.\n"
		h.want("node3", "birdcl show protocols", 0, "\n"+ready+`name     proto    table    state  since       info
static1  Static   master   up     00:00:00
kernel1  Kernel   master   up     00:00:00
device1  Device   master   up     00:00:00
direct1  Direct   master   up     00:00:00
Node_192_168_56_11 BGP      master   up     00:00:02    Established
`)
		h.want("node3", "birdcl show route 10.244.4.0/26", 0, ready+"10.244.4.0/26      via 192.168.56.14 on eth0 [Node_192_168_56_11 00:00:02 from 192.168.56.11] * (100/0) [i]\n")
		h.want("node3", "birdcl show route all for 10.244.4.9", 0, "\n"+ready+`10.244.4.0/26      via 192.168.56.14 on eth0 [Node_192_168_56_11 00:00:02 from 192.168.56.11] * (100/0) [i]
	Type: BGP unicast univ
	BGP.origin: IGP
	BGP.as_path: 
	BGP.next_hop: 192.168.56.14
	BGP.local_pref: 100
	BGP.originator_id: 192.168.56.14
	BGP.cluster_list: 244.0.0.1
`)
		h.want("node3", "birdcl show route", 0, "\n"+ready+`0.0.0.0/0          via 192.168.56.1 on eth0 [kernel1 00:00:00] * (10)
10.244.3.0/26      blackhole [static1 00:00:02] * (200)
10.244.3.0/32      dev cali6a91d87bb13 [kernel1 00:00:00] * (10)
10.244.4.0/26      via 192.168.56.14 on eth0 [Node_192_168_56_11 00:00:02 from 192.168.56.11] * (100/0) [i]
192.168.56.0/24    dev eth0 [direct1 00:00:00] * (240)
`)
		h.want("node3", "birdcl show route protocol static1", 0, ready+"10.244.3.0/26      blackhole [static1 00:00:02] * (200)\n")
		h.contains("node1", "birdcl show protocols all Node_192_168_56_13", 0, "    Neighbor AS:      64512\n", "Neighbor caps:    refresh enhanced-refresh restart-able llgr-aware AS4 add-path-rx add-path-tx\n",
			"Session:          internal multihop route-reflector AS4", "Routes:         1 imported, 1 exported, 1 preferred\n")
		h.contains("node1", "birdcl show status", 0, "Router ID is 192.168.56.11\n")
		h.contains("p3", "birdcl show protocols", 1, "Unable to connect to server control socket")
		for line, want := range map[string]string{
			"birdcl":                       "want show and one of",
			"birdcl show what":             `found show "what", want one of status, protocols and route`,
			"birdcl show protocols nobody": `protocol "nobody" is not known`,
			"birdcl show route x":          `found "x", want a prefix such as 10.244.2.0/26`,
			"birdcl show route for x":      `found "x", want an address`,
			"birdcl show route a b":        `found "a b", want a prefix, for ADDR or protocol NAME`,
		} {
			h.contains("node1", line, 2, want)
		}
		lab.Node("node1").StopBGP(true)
		lab.Sleep(time.Second)
		h.contains("node3", "birdcl show protocols", 0, "Node_192_168_56_11 BGP      master   start  00:00:0", "Active        Socket: Connection closed")
		h.contains("node3", "birdcl show protocols all", 0, "Neighbor graceful restart active", "Restart timer:", "Start delay:")
	})

}
