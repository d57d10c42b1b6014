package conformance

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/overlay"
)

// needBIRD ends the test if there is no BIRD: a missing speaker must not look like
// a passed check, unless somebody has asked for that.
func needBIRD(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("bird")
	switch {
	case err == nil:
	case os.Getenv("PODWIRE_NO_BIRD") == "1":
		t.Skip("no BIRD, and PODWIRE_NO_BIRD=1 says that this is all right")
	default:
		t.Fatal("this check asks a BGP speaker that is not ours: apt-get install bird2, or set PODWIRE_NO_BIRD=1 to skip it")
	}
}

// BIRD on a real kernel, a node of the cluster like any other: it originates its
// block, and has sessions with all emulated nodes. Its kernel forwards for a pod.
const birdConfig = `log stderr all;
router id %[1]v;
protocol device { scan time 1; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol direct { ipv4; interface "pw0"; }
protocol static { ipv4; route %[2]v blackhole; }
template bgp calico {
  local %[1]v as 64512;
  multihop;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  graceful restart off;
  ipv4 { gateway recursive; import all; export where source = RTS_STATIC; next hop self; };
}
`

// bird starts BIRD in the namespace with sessions to all nodes. The function
// returned ends it in good order.
func (n *netns) bird(t *testing.T, own netip.Addr, block netip.Prefix, peers []*emu.Node) (stop func()) {
	t.Helper()
	dir := t.TempDir()
	var conf, log bytes.Buffer
	fmt.Fprintf(&conf, birdConfig, own, block)
	for i, p := range peers {
		fmt.Fprintf(&conf, "protocol bgp peer%d from calico { neighbor %v as 64512; }\n", i+1, p.Addr())
	}
	file := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("bird", "-p", "-c", file).CombinedOutput(); err != nil {
		t.Fatalf("BIRD does not understand its configuration: %v: %s", err, out)
	}
	cmd := exec.Command("bird", "-f", "-c", file, "-s", filepath.Join(dir, "bird.ctl"), "-P", filepath.Join(dir, "bird.pid"))
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	n.do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("BIRD says:\n%s", log.String())
		}
	}
	t.Cleanup(stop)
	return stop
}

// eventually waits until a condition of the real world holds.
func eventually(t *testing.T, lab *emu.Lab, what string, holds func() bool) {
	t.Helper()
	for end := lab.Now() + patience; lab.Now() < end; lab.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("%s: not within %v", what, patience)
}

// An independent speaker peers with the nodes of calico-bgp: routes go both ways,
// packets follow them, and when it says goodbye its routes are withdrawn.
func TestBIRDPeersWithCalico(t *testing.T) {
	needBIRD(t)
	list := realTime(t, emu.Config{Nodes: 2, Design: "calico-bgp"}, func(lab *emu.Lab) {
		k := newKernelNode(t, lab, "10.244.9.0/26", 1500)
		pods := []*emu.Pod{addPod(t, lab, lab.Nodes()[0]), addPod(t, lab, lab.Nodes()[1])}
		if err := lab.AddBGPPeer(overlay.BGPPeer{Addr: k.addr}); err != nil {
			t.Fatal(err)
		}
		stop := k.bird(t, k.addr, k.podCIDR, lab.Nodes())
		for _, p := range pods {
			host := p.Node().Stack()
			knows := func() (ok bool) {
				lab.Driver().Do(func() {
					r, found := host.LookupRoute(k.podAddr)
					ok = found && r.Dst == k.podCIDR && r.Via == k.addr
				})
				return ok
			}
			eventually(t, lab, p.Node().Name()+" learns BIRD's block", knows)
			eventually(t, lab, "the kernel learns the block of "+p.Node().Name(), func() bool {
				return strings.Contains(k.output("ip route get %v", p.Addr()), "via "+p.Node().Addr().String())
			})
			k.talk(t, p)
			if p == pods[len(pods)-1] {
				stop()
				eventually(t, lab, "BIRD's block is withdrawn", func() bool { return !knows() })
			}
		}
	})
	for _, node := range []string{"node1/eth0", "node2/eth0"} {
		bgp := list.on(node).filter(func(f *frame) bool {
			return strings.HasSuffix(f.first("frame.protocols"), ":bgp") && f.hasHost("192.168.56.20")
		})
		bgp.in().some(t, "BGP from BIRD at "+node)
		bgp.out().some(t, "BGP to BIRD at "+node)
	}
}

// hasHost reports whether a frame comes from or goes to an address.
func (f *frame) hasHost(a string) bool { return f.get("ip.src") == a || f.get("ip.dst") == a }
