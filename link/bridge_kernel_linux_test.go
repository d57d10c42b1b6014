package link

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bridgeStep is one thing that happens to a bridge with three ports.
type bridgeStep struct {
	what     string
	command  string // to the kernel's bridge
	change   func(s *switched)
	port     int // else: a frame comes in here
	src, dst MAC
	size     int // of the payload; 0 means 46
}

// The all-hosts group, a group that nobody joined, that of spanning tree, which
// passes where spanning tree is off, and others that bridges keep to themselves
// (IEEE 802.1D §7.12.6).
var (
	allHostsMAC = MAC{0x01, 0x00, 0x5e, 0, 0, 1}
	groupMAC    = MAC{0x01, 0x00, 0x5e, 1, 2, 3}
	stpMAC      = MAC{0x01, 0x80, 0xc2, 0, 0, 0}
	pauseMAC    = MAC{0x01, 0x80, 0xc2, 0, 0, 1}
	eapMAC      = MAC{0x01, 0x80, 0xc2, 0, 0, 3}
	lldpMAC     = MAC{0x01, 0x80, 0xc2, 0, 0, 14}
)

// TestBridgeLikeKernel gives the same frames to a bridge of the kernel and to
// ours, and compares the ports by which they leave.
func TestBridgeLikeKernel(t *testing.T) {
	frame := func(what string, port int, src, dst MAC) bridgeStep {
		return bridgeStep{what: what, port: port, src: src, dst: dst}
	}
	steps := []bridgeStep{
		frame("unknown unicast is flooded", 0, mac(1), mac(2)),
		frame("a known address has one port", 1, mac(2), mac(1)),
		frame("and the other one too", 0, mac(1), mac(2)),
		frame("broadcast", 2, mac(3), Broadcast),
		frame("multicast that nobody joined is flooded", 0, mac(1), groupMAC),
		frame("all hosts", 0, mac(1), allHostsMAC),
		frame("spanning tree", 0, mac(1), stpMAC),
		frame("pause", 0, mac(1), pauseMAC),
		frame("802.1X", 0, mac(1), eapMAC),
		frame("LLDP", 0, mac(1), lldpMAC),
		frame("to the port it came from", 0, mac(9), mac(1)),
		frame("from a group", 0, groupMAC, mac(2)),
		frame("from nobody", 0, MAC{}, mac(2)),
		frame("an address moves", 2, mac(1), mac(2)),
		frame("and is found there", 1, mac(2), mac(1)),
		frame("but not where it was", 0, mac(4), mac(1)),
		{what: "hairpin on", command: "bridge link set dev p0 hairpin on", change: func(s *switched) { s.ports[0].Hairpin = true }},
		frame("to the port it came from, hairpin", 0, mac(5), mac(4)),
		frame("broadcast comes back, hairpin", 0, mac(5), Broadcast),
		{what: "hairpin off", command: "bridge link set dev p0 hairpin off", change: func(s *switched) { s.ports[0].Hairpin = false }},
		{what: "two isolated ports", command: "bridge link set dev p0 isolated on && bridge link set dev p1 isolated on",
			change: func(s *switched) { s.ports[0].Isolated, s.ports[1].Isolated = true, true }},
		frame("isolated to isolated", 0, mac(4), mac(2)),
		frame("isolated to the other", 0, mac(4), mac(1)),
		frame("the other to isolated", 2, mac(1), mac(4)),
		frame("isolated floods past isolated", 0, mac(4), Broadcast),
		{what: "none isolated", command: "bridge link set dev p0 isolated off && bridge link set dev p1 isolated off",
			change: func(s *switched) { s.ports[0].Isolated, s.ports[1].Isolated = false, false }},
		{what: "a frame as large as the MTU", port: 0, src: mac(4), dst: mac(2), size: 1500},
		{what: "port 1 carries less", command: "ip link set dev p1 mtu 1400", change: func(s *switched) { s.ports[1].MTU = 1400 }},
		{what: "oversize is dropped in silence", port: 0, src: mac(4), dst: mac(2), size: 1500},
		{what: "also where it is flooded", port: 0, src: mac(4), dst: Broadcast, size: 1500},
		{what: "what fits goes", port: 0, src: mac(4), dst: mac(2), size: 1400},
	}
	var ours []string
	inBubble(t, func(t *testing.T, d *Driver) {
		s := newSwitched(d, 3)
		for _, p := range s.ports {
			p.MTU = 1500
		}
		for _, step := range steps {
			if step.change != nil {
				d.Do(func() { step.change(s) })
				ours = append(ours, "")
				continue
			}
			ours = append(ours, fmt.Sprint(s.sendSize(step.port, step.src, step.dst, step.payload())))
		}
	})
	inKernelBridge(t, func(k *kernelBridge) {
		for i, step := range steps {
			if step.command != "" {
				k.run(step.command)
				continue
			}
			if got := fmt.Sprint(k.send(step, len(strings.Fields(strings.Trim(ours[i], "[]"))))); got != ours[i] {
				t.Errorf("%s: we send it out of the ports %s, the kernel out of %s", step.what, ours[i], got)
			}
		}
	})
}

func (s bridgeStep) payload() int {
	if s.size == 0 {
		return 46
	}
	return s.size
}

// kernelBridge is br0 with the ports p0 to p2, whose other ends are f0 to f2.
type kernelBridge struct {
	t   *testing.T
	fds [3]int
	idx [3]int
}

const localExperimental = 0xb588 // EtherType 0x88b5 in network order: not IP, so that nobody but the bridge cares

// inKernelBridge calls f in a network namespace of its own.
func inKernelBridge(t *testing.T, f func(k *kernelBridge)) {
	t.Helper()
	const none = "PODWIRE_NO_IPTABLES"
	if os.Getenv(none) == "1" {
		t.Skip(none + "=1")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and the namespace with it
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v (needs root; set %s=1 to go without)", err, none)
			return
		}
		k := &kernelBridge{t: t}
		k.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; " +
			"ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up && for i in 0 1 2; do " +
			"ip link add p$i type veth peer name f$i && ip link set p$i master br0 && ip link set p$i up && ip link set f$i up || exit 1; done; " +
			// The kernel drops what is sent before a worker has seen that the links are up.
			"for i in $(seq 2000); do [ $(ip -o link | grep -c ' state UP ') = 7 ] && break; sleep 0.01; done")
		for i := range 3 {
			ifi, err := net.InterfaceByName(fmt.Sprint("f", i))
			if err != nil {
				t.Error(err)
				return
			}
			fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, localExperimental)
			if err == nil {
				err = syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: localExperimental, Ifindex: ifi.Index})
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer syscall.Close(fd)
			k.fds[i], k.idx[i] = fd, ifi.Index
		}
		f(k)
	}()
	<-done
}

func (k *kernelBridge) run(command string) {
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		k.t.Errorf("%s: %v: %s", command, err, out)
	}
}

// send sends a frame and says which ports it left by; it waits for as many as
// are expected.
func (k *kernelBridge) send(s bridgeStep, expected int) (left []int) {
	b := make([]byte, EthernetHeader+s.payload())
	PutEthernet(b, s.dst, s.src, 0x88b5)
	if err := syscall.Sendto(k.fds[s.port], b, 0, &syscall.SockaddrLinklayer{Ifindex: k.idx[s.port]}); err != nil {
		k.t.Errorf("%s: %v", s.what, err)
	}
	var got [3]int
	buf := make([]byte, 2048)
	for deadline := time.Now().Add(200 * time.Millisecond); ; time.Sleep(200 * time.Microsecond) {
		total := 0
		for i, fd := range k.fds {
			for {
				if _, _, err := syscall.Recvfrom(fd, buf, syscall.MSG_DONTWAIT); err != nil {
					break
				}
				got[i]++
			}
			total += got[i]
		}
		if total >= expected || time.Now().After(deadline) {
			break
		}
	}
	for i, n := range got {
		for range n {
			left = append(left, i)
		}
	}
	return left
}
