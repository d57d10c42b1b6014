package conformance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/tap"
	"github.com/podwire/podwire/link"
)

// addTAP adds a TAP whose device is in a namespace.
func (n *netns) addTAP(lab *emu.Lab, cfg emu.TAPConfig) (t *emu.TAP, err error) {
	n.do(func() { t, err = lab.AddTAP(cfg) })
	return t, err
}

// A real machine joined by a TAP reaches pods, Services and machines behind a
// router as any machine outside does, and they reach it; what its kernel sends
// has whole checksums.
func TestTAPRealMachineOutside(t *testing.T) {
	underlay := emu.Underlay{Segments: []emu.Segment{
		{Name: "rack1", Subnet: netip.MustParsePrefix("192.168.56.0/24")},
		{Name: "rack2", Subnet: netip.MustParsePrefix("192.168.57.0/24")},
	}}
	list := realTime(t, emu.Config{Nodes: 2, Underlay: underlay}, func(lab *emu.Lab) {
		far, err := lab.AddHost(emu.HostConfig{Name: "far", Segment: "rack2"})
		if err != nil {
			t.Fatal(err)
		}
		web := addWeb(t, lab, "node2")
		routes, err := lab.TAPRoutes("rack1")
		if err != nil {
			t.Fatal(err)
		}
		k := newNetns(t)
		laptop, err := k.addTAP(lab, emu.TAPConfig{Name: "laptop", Device: "pw0", Routes: routes})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []struct {
			name string
			addr netip.Addr
			ttl  int
		}{{"node1", lab.Node("node1").Addr(), 64}, {"far", far.Addr(), 63}, {"web", web.Addr(), 62}} {
			if ttl, err := k.ping(to.addr); err != nil || ttl != to.ttl {
				t.Errorf("ping %s: TTL %d, %v, want %d", to.name, ttl, err, to.ttl)
			}
		}
		service, err := lab.Resolve("web")
		if err != nil {
			t.Fatal(err)
		}
		if got := k.get(t, fmt.Sprintf("%v:80", service)); !strings.HasSuffix(got, "\r\n\r\nweb") {
			t.Errorf("GET of the Service: %q, want the pod's name in the end", got)
		}
		if r, err := web.Ping("laptop", patience); err != nil || r.Err() != nil || r.From != laptop.Addr() {
			t.Errorf("web pings laptop: %+v, %v", r, err)
		}
		l, port := k.listen()
		c, err := web.Dial("tcp", fmt.Sprintf("laptop:%d", port))
		if err == nil {
			err = exchangeBulk(c, serveEcho(l))
		}
		if err != nil {
			t.Errorf("TCP from web to laptop: %v", err)
		}
	})
	fromKernel := list.on("node1/eth0", "node2/eth0").in().where("ip.src", "192.168.56.254", "tcp.checksum.status", "1")
	fromKernel.some(t, "TCP of the kernel")
}

// addWeb adds a pod web with a Service of its name.
func addWeb(t *testing.T, lab *emu.Lab, node string) *emu.Pod {
	t.Helper()
	labels := map[string]string{"app": "web"}
	pod, err := lab.AddPod(emu.PodConfig{Name: "web", Node: node, Labels: labels, Ports: []corev1.ContainerPort{{ContainerPort: 80}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = lab.AddService(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 80}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// get asks for /hostname and returns the whole answer.
func (n *netns) get(t *testing.T, address string) string {
	t.Helper()
	c, err := n.dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET /hostname HTTP/1.0\r\nHost: web\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What the kernel is told of the device, and what becomes of it.
func TestTAPDevice(t *testing.T) {
	k := newNetns(t)
	cable := link.WireConfig{Latency: 3 * time.Millisecond}
	lab, err := emu.New(emu.Config{Nodes: 1, Underlay: emu.Underlay{MTU: 9000}})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	tap, err := k.addTAP(lab, emu.TAPConfig{Name: "pw0", Cable: &cable})
	if err != nil {
		t.Fatal(err)
	}
	k.run("ip link show pw0 | grep -q ',UP,.* mtu 9000 '")
	k.run("ip addr show pw0 | grep -q 'inet %v/24 '", tap.Addr())

	var before, after time.Duration
	before = lab.Now()
	if _, err := k.ping(lab.Node("node1").Addr()); err != nil {
		t.Fatal(err)
	}
	if after = lab.Now(); after-before < 4*cable.Latency { // ARP, ping; there and back
		t.Errorf("a first ping over a cable of %v took %v, want at least four times as long", cable.Latency, after-before)
	}
	if got, err := lab.Resolve("pw0"); err != nil || got != tap.Addr() {
		t.Errorf("name pw0: %v, %v, want %v", got, err, tap.Addr())
	}
	if _, err := k.addTAP(lab, emu.TAPConfig{Name: "pw0", Addr: tap.Addr().Prev()}); err == nil {
		t.Error("a second machine pw0 is accepted")
	}
	if _, err := k.addTAP(lab, emu.TAPConfig{Name: "pw1", Addr: tap.Addr()}); err == nil || !strings.Contains(err.Error(), "already that of pw0") {
		t.Errorf("its address once more: %v", err)
	}
	if _, err := lab.AddHost(emu.HostConfig{Name: "pw0"}); err == nil {
		t.Error("a host pw0 is accepted")
	}

	// A pulled cable: nothing comes through; plugged in again, it does.
	tap.SetLink(false)
	if r, err := lab.Node("node1").Ping("pw0", 50*time.Millisecond); err == nil && r.Err() == nil {
		t.Error("an answer through a cable that is pulled")
	}
	k.run("ip link show pw0 | grep -q NO-CARRIER")
	tap.SetLink(true)
	if _, err := k.ping(lab.Node("node1").Addr()); err != nil {
		t.Errorf("ping when the cable is back: %v", err)
	}

	// The device is removed under it.
	k.run("ip link del pw0")
	<-tap.Done()
	if !errors.Is(tap.Err(), syscall.EBADFD) {
		t.Errorf("the device was removed: %v, want EBADFD", tap.Err())
	}
	if _, err := k.addTAP(lab, emu.TAPConfig{Name: "pw2"}); err != nil {
		t.Fatal(err)
	}
	if err := lab.Close(); err != nil {
		t.Error(err)
	}
	k.run("! ip link show pw2 2>/dev/null")
}

// A device that exists is used as it is, and stays.
func TestTAPExisting(t *testing.T) {
	k := newNetns(t)
	k.run("ip tuntap add pw0 mode tap && ip addr add 192.168.56.77/24 dev pw0 && ip link set pw0 up")
	lab, err := emu.New(emu.Config{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	if _, err := k.addTAP(lab, emu.TAPConfig{Name: "laptop", Device: "pw0", Addr: netip.MustParseAddr("192.168.56.77")}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ping(lab.Node("node1").Addr()); err != nil {
		t.Error(err)
	}
	if _, err := k.addTAP(lab, emu.TAPConfig{Name: "other", Device: "pw0"}); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "hint") {
		t.Errorf("a device that is in use: %v, want EBUSY and a hint", err)
	}
	if err := lab.Close(); err != nil {
		t.Error(err)
	}
	k.run("ip addr show pw0 | grep -q 192.168.56.77")
}

// Another network namespace, by path as by name.
func TestTAPNetns(t *testing.T) {
	k := newNetns(t)
	lab, err := emu.New(emu.Config{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	path := fmt.Sprintf("/proc/self/task/%d/ns/net", k.tid)
	if _, err := lab.AddTAP(emu.TAPConfig{Name: "pw0", Netns: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ping(lab.Node("node1").Addr()); err != nil {
		t.Error(err)
	}
	if _, err := net.InterfaceByName("pw0"); err == nil {
		t.Error("the device is in the test's own namespace")
	}
	_, err = lab.AddTAP(emu.TAPConfig{Name: "pw1", Netns: "podwire-none"})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "ip netns add") {
		t.Errorf("a namespace that does not exist: %v, want ErrNotExist and a hint", err)
	}
}

// What cannot be opened says why, and what to do.
func TestTAPRefused(t *testing.T) {
	k := newNetns(t)
	k.run("ip link add pw1 type bridge")
	for _, c := range []struct {
		what, want string
		cfg        tap.Config
	}{
		{"no name", `device name ""`, tap.Config{}},
		{"a long name", "want 1 to 15", tap.Config{Name: "podwire-tap-of-laptop"}},
		{"a pattern", "device name", tap.Config{Name: "tap%d"}},
		{"a device of another kind", "found a bridge device", tap.Config{Name: "pw1"}},
		{"an MTU that no device has", "MTU 100000", tap.Config{Name: "pw0", MTU: 100_000}},
		{"a route that leads nowhere", "route to 10.0.0.0/8 by way of 1.2.3.4", tap.Config{Name: "pw0",
			Routes: []tap.Route{{Dst: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("1.2.3.4")}}}},
	} {
		var err error
		k.do(func() { _, err = tap.Open(c.cfg) })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.what, err, c.want)
		}
	}
	k.run("! ip link show pw0 2>/dev/null") // nothing is left of those that failed

	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread has lost its rights
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETUID, 65534, 0, 0)
		if errno != 0 {
			done <- errno
			return
		}
		_, err := tap.Open(tap.Config{Name: "pw0"})
		done <- err
	}()
	if err := <-done; !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without rights: %v, want ErrPermission and a hint", err)
	}
}

// A lab with a TAP leaves no goroutine behind.
func TestTAPLeavesNothing(t *testing.T) {
	k := newNetns(t)
	before := goroutines()
	for range 3 {
		lab, err := emu.New(emu.Config{Nodes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.addTAP(lab, emu.TAPConfig{Name: "pw0"}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.ping(lab.Node("node1").Addr()); err != nil {
			t.Error(err)
		}
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
		lab.Driver().Do(func() {
			if n := lab.Driver().LiveFrames(); n != 0 {
				t.Errorf("%d frames were never released", n)
			}
		})
	}
	for _, stack := range leaked(before) {
		t.Errorf("left after Close:\n%s", stack)
	}
}
