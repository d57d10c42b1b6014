package stack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/podwire/podwire/link"
)

// The tests of this file have the Linux kernel as the oracle. A router made of
// a network namespace and one of ours get the same rules and the same frames:
//
//	left a0 === eth0 [ router ] eth1 === b0 right
//	10.0.1.2    10.0.1.1        10.0.2.1    10.0.2.2
//
// iptables is the legacy one, because policies of the other count nothing. Both
// routers must let the same packets out and count the same in iptables-save -c.
const noKernel = "PODWIRE_NO_IPTABLES" // set to 1 where there is no root or no iptables

// kernelRouter is the router in the kernel.
type kernelRouter struct {
	t     testing.TB
	ports [2]kernelPort // left and right
}

type kernelPort struct{ fd, index int }

// The MACs of both routers and their neighbours. In the kernel nobody has those
// of the neighbours, so that what is sent to them goes no further.
var (
	macLeft, macEth0  = link.MAC{2, 0, 0, 0, 1, 2}, link.MAC{2, 0, 0, 0, 1, 1}
	macRight, macEth1 = link.MAC{2, 0, 0, 0, 2, 2}, link.MAC{2, 0, 0, 0, 2, 1}
)

// inKernel calls f in a network namespace of its own, which is gone afterwards.
func inKernel(t *testing.T, f func(k *kernelRouter)) {
	t.Helper()
	if os.Getenv(noKernel) == "1" {
		t.Skip(noKernel + "=1")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and the namespace with it
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v (needs root; set %s=1 to go without)", err, noKernel)
			return
		}
		k := &kernelRouter{t: t}
		if k.build() {
			f(k)
		}
		for _, p := range k.ports {
			syscall.Close(p.fd)
		}
	}()
	<-done
}

func (k *kernelRouter) build() bool {
	const batch = `link set lo up
link add eth0 address 02:00:00:00:01:01 type veth peer name a0 address 02:00:00:00:01:0a
link add eth1 address 02:00:00:00:02:01 type veth peer name b0 address 02:00:00:00:02:0a
link set a0 up
link set b0 up
link set eth0 up
link set eth1 up
addr add 10.0.1.1/24 brd + dev eth0
addr add 10.0.2.1/24 brd + dev eth1
neigh add 10.0.1.2 lladdr 02:00:00:00:01:02 dev eth0 nud permanent
neigh add 10.0.2.2 lladdr 02:00:00:00:02:02 dev eth1 nud permanent
`
	if _, ok := k.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=1", ""); !ok {
		return false
	}
	if _, ok := k.run("ip -batch -", batch); !ok {
		return false
	}
	if !k.carries(4) {
		return false
	}
	for _, name := range []string{"eth0", "eth1"} {
		if err := checksumInSoftware(name); err != nil {
			k.t.Errorf("%s: %v", name, err)
			return false
		}
	}
	for i, name := range []string{"a0", "b0"} {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			k.t.Error(err)
			return false
		}
		const ipv4Only = 0x0008 // ETH_P_IP in network order: not what we send ourselves
		fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, ipv4Only)
		if err == nil {
			err = syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: ipv4Only, Ifindex: ifi.Index})
		}
		if err != nil {
			k.t.Error(err)
			return false
		}
		k.ports[i] = kernelPort{fd, ifi.Index}
	}
	return true
}

// carries waits until so many devices carry packets: the kernel learns in a worker,
// when it has time, that a link is up, and until then drops what is sent.
func (k *kernelRouter) carries(devices int) bool {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		links, ok := k.run("ip -o link", "")
		if up := strings.Count(links, " state UP "); !ok || up == devices {
			return ok
		} else if time.Now().After(deadline) {
			k.t.Errorf("%d links are up, want %d:\n%s", up, devices, links)
			return false
		}
	}
}

// checksumInSoftware is ethtool -K NAME tx off: a veth leaves checksums to the
// hardware, of which there is none.
func checksumInSoftware(name string) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	const siocEthtool, setTxChecksum = 0x8946, 0x17
	value := struct{ cmd, data uint32 }{setTxChecksum, 0}
	var req struct {
		name [16]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], name)
	req.data = unsafe.Pointer(&value)
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), siocEthtool, uintptr(unsafe.Pointer(&req))); e != 0 {
		return e
	}
	return nil
}

// run runs a shell command in the namespace.
func (k *kernelRouter) run(command, stdin string) (string, bool) {
	k.t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		k.t.Errorf("%s: %v: %s", command, err, stderr.String())
	}
	return string(out), err == nil
}

// send gives the kernel a frame at one side.
func (k *kernelRouter) send(side int, frame []byte) {
	if err := syscall.Sendto(k.ports[side].fd, frame, 0, &syscall.SockaddrLinklayer{Ifindex: k.ports[side].index}); err != nil {
		k.t.Error(err)
	}
}

// take returns the frames that came out at one side: as many as are wanted, for
// which it waits, and what else is there.
func (k *kernelRouter) take(side, wanted int) (got [][]byte) {
	buf := make([]byte, 1<<16)
	for deadline := time.Now().Add(500 * time.Millisecond); ; {
		n, _, err := syscall.Recvfrom(k.ports[side].fd, buf, syscall.MSG_DONTWAIT)
		switch {
		case err == nil:
			got = append(got, append([]byte(nil), buf[:n]...))
			continue
		case len(got) >= wanted || time.Now().After(deadline):
			return got
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// injection is a packet for one side of the router: 0 left, 1 right.
type injection struct {
	side int
	pkt  []byte
}

// frame is the packet as the neighbour on its side sends it to the router.
func (x injection) frame() []byte {
	if x.side == 1 {
		return frame(macEth1, macRight, etherIPv4, x.pkt)
	}
	return frame(macEth0, macLeft, etherIPv4, x.pkt)
}

// alike makes of a frame what both routers must agree on: identifications
// that the router chooses, and what follows from them, are left out.
func alike(frame []byte) string {
	ip := ipv4(bytes.Clone(frame[link.EthernetHeader:]))
	if n := ip.totalLen(); n <= len(ip) {
		ip = ip[:n]
	}
	own := ip.src() == addr("10.0.1.1") || ip.src() == addr("10.0.2.1")
	sum := checkedSum(ip)
	if own && ip.proto() == protoICMP {
		binary.BigEndian.PutUint16(ip[4:], 0)
		binary.BigEndian.PutUint16(ip[10:], 0)
	}
	return fmt.Sprintf("%s ttl %d tos %#x len %d%s %x", describeIP(ip), ip.ttl(), ip.tos(), len(ip), sum, []byte(ip))
}

// checkedSum says if a header checksum is wrong.
func checkedSum(ip ipv4) string {
	if _, ok := ip.valid(); !ok {
		return " BAD HEADER"
	}
	return ""
}

// ruleTool is a way to load rules and to see them again with their counters, in
// the kernel and here.
type ruleTool struct {
	load, save string // commands
	apply      func(n *network, r *Host, rules string)
	saved      func(r *Host) string
	lines      func(saved string) []string // that must be the same
}

var iptablesTool = ruleTool{
	load: "iptables-legacy-restore", save: "iptables-legacy-save -c",
	apply: (*network).rules,
	saved: func(r *Host) string { return r.Netfilter().SaveCounters() },
	lines: countedLines,
}

// wantLikeKernel loads rules into both routers, injects packets, and compares
// what comes out and what was counted.
func wantLikeKernel(t *testing.T, tool ruleTool, rules string, packets ...injection) {
	t.Helper()
	var ours [][2][]string // per packet and side
	var counted string
	inBubble(t, func(n *network) {
		r := n.host(Config{Name: "r", Forward: true})
		sides := n.kernelTwin(r)
		tool.apply(n, r, rules)
		for _, x := range packets {
			sides[x.side].send(x.frame())
			var out [2][]string
			for side := range out {
				for _, s := range sides[side].take() {
					if link.EtherType(s.b) == etherIPv4 {
						out[side] = append(out[side], alike(s.b))
					}
				}
			}
			ours = append(ours, out)
		}
		n.do(func() { counted = tool.saved(r) })
	})
	inKernel(t, func(k *kernelRouter) {
		if _, ok := k.run(tool.load, rules); !ok {
			return
		}
		n := network{TB: t}
		for i, x := range packets {
			k.send(x.side, x.frame())
			for side, name := range []string{"left", "right"} {
				var theirs []string
				for _, f := range k.take(side, len(ours[i][side])) {
					theirs = append(theirs, alike(f))
				}
				n.want(fmt.Sprintf("packet %d (%s), out on the %s (got ours, want the kernel's)", i, describeIP(x.pkt), name), ours[i][side], theirs...)
			}
		}
		saved, _ := k.run(tool.save, "")
		n.want("counters (got ours, want the kernel's)", tool.lines(counted), tool.lines(saved)...)
	})
}

// kernelTwin gives r the devices, addresses and neighbours of the kernel's.
func (n *network) kernelTwin(r *Host) [2]*station {
	n.macs = 0x100
	eth0, s0 := n.plug(r, "eth0", "10.0.1.1/24", macEth0, macLeft)
	eth1, s1 := n.plug(r, "eth1", "10.0.2.1/24", macEth1, macRight)
	n.do(func() {
		n.try(r.SetNeighbour(eth0, addr("10.0.1.2"), macLeft))
		n.try(r.SetNeighbour(eth1, addr("10.0.2.2"), macRight))
	})
	return [2]*station{s0, s1}
}

// plug is station with MACs of the caller's choice.
func (n *network) plug(h *Host, name, address string, mac, peer link.MAC) (*Device, *station) {
	s := &station{n: n, mac: peer}
	var d *Device
	n.do(func() {
		var port *link.Port
		port, s.port = n.drv.NewVeth(h.Name()+"/"+name, "station")
		s.port.Bind(func(f *link.Frame) {
			s.got = append(s.got, seen{at: n.drv.Now(), b: append([]byte(nil), f.Bytes()...)})
			f.Release()
		})
		var err error
		d, err = h.AddEthernet(name, mac, 1500, port)
		n.try(err)
		n.try(d.AddAddr(prefix(address)))
	})
	return d, s
}

// countedLines are the rules and policies of iptables-save -c, table by table.
func countedLines(text string) []string {
	tables := make(map[string][]string)
	var name string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line == "COMMIT":
		case line[0] == '*':
			name = line
		default:
			tables[name] = append(tables[name], line)
		}
	}
	var out []string
	for _, name := range []string{"*raw", "*mangle", "*nat", "*filter"} {
		if len(tables[name]) > 0 {
			out = append(append(out, name), tables[name]...)
		}
	}
	return out
}
