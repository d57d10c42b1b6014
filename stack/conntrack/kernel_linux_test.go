package conntrack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests of this file have the Linux kernel as the oracle: the same packets go through a router made of a network
// namespace with two veth pairs and through a Table, and both must forward the same bytes and list the same entries.
//
//	inject -> a0 === a1 [ router ] b1 === b0 <- inject
const noKernel = "PODWIRE_NO_IPTABLES" // set to 1 where there is no root or no iptables

const kernelSetup = `
ip link set lo up
ip link add a0 address 02:00:00:00:00:a0 type veth peer name a1 address 02:00:00:00:00:a1
ip link add b0 address 02:00:00:00:00:b0 type veth peer name b1 address 02:00:00:00:00:b1
ip link set a0 up
ip link set a1 up
ip link set b0 up
ip link set b1 up
ip addr add 10.1.255.254/16 dev a1
ip addr add 10.2.255.254/16 dev b1
ip neigh add 10.1.0.3 lladdr 02:00:00:00:00:99 dev a1 nud permanent
ip neigh add 10.1.0.4 lladdr 02:00:00:00:00:99 dev a1 nud permanent
ip neigh add 10.2.0.2 lladdr 02:00:00:00:00:99 dev b1 nud permanent
sysctl -q -w net.ipv4.ip_forward=1
sysctl -q -w net.ipv4.conf.all.rp_filter=0
sysctl -q -w net.ipv4.conf.a1.rp_filter=0
sysctl -q -w net.ipv4.conf.b1.rp_filter=0
sysctl -q -w net.netfilter.nf_conntrack_acct=1
ip route add 10.96.0.0/16 via 10.2.0.2
iptables -A OUTPUT -p icmp -j DROP
iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp -j DNAT --to-destination 10.2.0.2:8080
iptables -t nat -A PREROUTING -d 10.96.0.10 -p udp -j DNAT --to-destination 10.2.0.2:5353
iptables -t nat -A PREROUTING -d 10.96.0.10 -p sctp -j DNAT --to-destination 10.2.0.2:8080
iptables -t nat -A PREROUTING -d 10.96.0.10 -p icmp -j DNAT --to-destination 10.2.0.2
iptables -t nat -A POSTROUTING -s 10.1.0.4 -j SNAT --to-source 10.2.255.254
`

var (
	kClient   = netip.MustParseAddr("10.1.0.3")
	kHidden   = netip.MustParseAddr("10.1.0.4") // its source is translated
	kGateway  = netip.MustParseAddr("10.2.255.254")
	kServer   = netip.MustParseAddr("10.2.0.2")
	kService  = netip.MustParseAddr("10.96.0.10")
	kToRouter = map[string]string{"a0": "\x02\x00\x00\x00\x00\xa1", "b0": "\x02\x00\x00\x00\x00\xb1"}
)

func kernelRules(pkt []byte) (r rules) {
	if dst, _ := netip.AddrFromSlice(pkt[16:20]); dst == kService {
		port := map[byte]uint16{protoTCP: 8080, protoUDP: 5353, protoSCTP: 8080}
		r.dst = to(kServer, port[pkt[9]])
	}
	if src, _ := netip.AddrFromSlice(pkt[12:16]); src == kHidden {
		r.src = to(kGateway, 0)
	}
	return r
}

// inNamespace runs the calling test in a child process with a network namespace of its own; it returns false in the parent.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const child = "PODWIRE_KERNEL_CHILD"
	if os.Getenv(noKernel) == "1" {
		t.Skip(noKernel + "=1")
	}
	if os.Getenv(child) == "1" {
		for line := range strings.Lines(strings.TrimSpace(kernelSetup)) {
			f := strings.Fields(line)
			if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", strings.TrimSpace(line), err, out)
			}
		}
		waitForLinks(t, 4)
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("against the kernel: %v (needs root, ip and iptables; set %s=1 to go without)\n%s", err, noKernel, out)
	}
	return false
}

// waitForLinks waits until so many links are up: a worker of the kernel notices it in
// its own time, and until then packets are dropped.
func waitForLinks(t *testing.T, links int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		out, err := exec.Command("ip", "-o", "link").CombinedOutput()
		if up := strings.Count(string(out), " state UP "); err != nil || time.Now().After(deadline) {
			t.Fatalf("%d links are up, want %d (%v):\n%s", up, links, err, out)
		} else if up == links {
			return
		}
	}
}

// oracle is the kernel beside a table.
type oracle struct {
	t     *testing.T
	table *Table
	ports map[string]*kernelPort
	start time.Time
	log   []string // what the present flow has seen
}

type kernelPort struct{ fd, index int }

// across is the other port of the router.
var across = map[string]string{"a0": "b0", "b0": "a0"}

func newOracle(t *testing.T) *oracle {
	o := &oracle{t: t, table: newTable(Config{Acct: true}), ports: map[string]*kernelPort{}, start: time.Now()}
	const all = 0x0300 // ETH_P_ALL in network order
	for _, name := range []string{"a0", "b0"} {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, all)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index}); err != nil {
			t.Fatal(err)
		}
		o.ports[name] = &kernelPort{fd, ifi.Index}
	}
	return o
}

// send injects pkt at port from and returns what comes out of the other one; nil if nothing does.
func (o *oracle) send(from string, pkt []byte, expect bool) []byte {
	o.t.Helper()
	return o.sendBetween(from, across[from], pkt, expect)
}

// sendBetween is send for a packet that is to come out at port to, which may be the one it went in at.
func (o *oracle) sendBetween(from, to string, pkt []byte, expect bool) []byte {
	o.t.Helper()
	frame := append([]byte(kToRouter[from]+"\x02\x00\x00\x00\x00\x99\x08\x00"), pkt...)
	if err := syscall.Sendto(o.ports[from].fd, frame, 0, &syscall.SockaddrLinklayer{Ifindex: o.ports[from].index}); err != nil {
		o.t.Fatal(err)
	}
	out := o.ports[to]
	wait := 2 * time.Millisecond
	if expect {
		wait = time.Second
	}
	buf := make([]byte, 4096)
	for end := time.Now().Add(wait); time.Now().Before(end); {
		n, sa, err := syscall.Recvfrom(out.fd, buf, syscall.MSG_DONTWAIT)
		if ll, ok := sa.(*syscall.SockaddrLinklayer); err == nil && ok && ll.Pkttype == 3 && buf[12] == 8 && buf[13] == 0 {
			return bytes.Clone(buf[14:n]) // to another host, IPv4
		}
	}
	return nil
}

// iptables adds a rule in the namespace.
func (o *oracle) iptables(rule string) {
	o.t.Helper()
	if out, err := exec.Command("iptables", strings.Fields(rule)...).CombinedOutput(); err != nil {
		o.t.Fatalf("iptables %s: %v: %s", rule, err, out)
	}
}

// both sends pkt through kernel and table, compares what comes out, and reports whether anything does.
func (o *oracle) both(from string, pkt []byte) bool {
	o.t.Helper()
	return o.bothBetween(from, across[from], pkt, kernelRules)
}

func (o *oracle) bothBetween(from, to string, pkt []byte, nat func(pkt []byte) rules) bool {
	o.t.Helper()
	mine := bytes.Clone(pkt)
	o.log = append(o.log, fmt.Sprintf("%s %s %x", from, decode(pkt), pkt))
	c, ok := pass(o.t, o.table, time.Since(o.start), mine, nat(pkt))
	if c.State == StateInvalid || c.State == StateRefused {
		ok = false
	}
	theirs := o.sendBetween(from, to, pkt, ok)
	if !ok {
		mine = nil
	} else {
		mine = patch(mine, 8, mine[8]-1)
	}
	if !bytes.Equal(mine, theirs) {
		o.t.Fatalf("after\n%s\n%v\ntable   %x\nkernel  %x", strings.Join(o.log, "\n"), c.State, mine, theirs)
	}
	return ok
}

var timeoutField = regexp.MustCompile(`^(\S+ +\d+ \S+ +\d+ )(\d+) (.*?) ?(mark=.*)?$`)

// compareEntries compares the entries that contain the word with.
func (o *oracle) compareEntries(with string) {
	o.t.Helper()
	data, err := os.ReadFile("/proc/net/nf_conntrack")
	if err != nil {
		o.t.Fatal(err)
	}
	var theirs, mine []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, with+" ") {
			theirs = append(theirs, strings.TrimSpace(line))
		}
	}
	now := time.Since(o.start)
	for _, e := range o.table.Entries(now) {
		if line := e.Line(now); strings.Contains(line, with+" ") {
			mine = append(mine, line)
		}
	}
	o.log = append(o.log, fmt.Sprint(mine, theirs))
	if len(theirs) != len(mine) || len(mine) > 1 {
		o.t.Fatalf("after\n%s\ntable   %q\nkernel  %q", strings.Join(o.log, "\n"), mine, theirs)
	}
	for i := range mine {
		a, b := timeoutField.FindStringSubmatch(mine[i]), timeoutField.FindStringSubmatch(theirs[i])
		if a == nil || b == nil {
			o.t.Fatalf("cannot read %q or %q", mine[i], theirs[i])
		}
		x, _ := strconv.Atoi(a[2])
		y, _ := strconv.Atoi(b[2])
		tail := strings.Contains(b[4], "zone=") // else the kernel was built without
		if a[1] != b[1] || a[3] != b[3] || tail && a[4] != b[4] || x-y > 1 || y-x > 1 {
			o.t.Fatalf("after\n%s\ntable   %s\nkernel  %s", strings.Join(o.log, "\n"), mine[i], theirs[i])
		}
	}
}

// TestKernelTCP plays random TCP conversations, plausible in the main, and compares the entry after every segment.
func TestKernelTCP(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	o := newOracle(t)
	states := o.playTCP(rand.New(rand.NewPCG(11, 12)), 2000, 250)
	t.Logf("states compared: %v", states)
	for _, s := range tcpNames[1:] {
		if states[s] == 0 {
			t.Errorf("state %s was never reached, want all of them: %v", s, states)
		}
	}
}

// playTCP plays n conversations from port on and returns how often each state was compared.
func (o *oracle) playTCP(rng *rand.Rand, first, n uint16) map[string]int {
	o.t.Helper()
	states := map[string]int{}
	for port := first; port < first+n; port++ {
		o.log = nil
		g := newTCPGame(rng)
		for range 4 + rng.IntN(14) {
			fromClient := rng.IntN(2) == 0
			flags, seq, ack, data := g.next(fromClient)
			if fromClient {
				o.both("a0", tcp(kClient, port, kServer, 80, flags, seq, ack, data))
			} else {
				o.both("b0", tcp(kServer, 80, kClient, port, flags, seq, ack, data))
			}
			o.compareEntries(fmt.Sprintf("sport=%d dport=80", port))
			if e, _ := o.table.Lookup(0, Tuple{kClient, kServer, port, 80, protoTCP}); e != nil {
				states[e.ProtoState()]++
			}
		}
	}
	return states
}

// tcpGame makes up segments of one conversation.
type tcpGame struct {
	rng  *rand.Rand
	seq  [2]uint32 // next number of client, server
	open int       // segments of the opening sent so far
}

func newTCPGame(rng *rand.Rand) *tcpGame {
	return &tcpGame{rng: rng, seq: [2]uint32{rng.Uint32(), rng.Uint32()}, open: rng.IntN(5) - 1}
}

func (g *tcpGame) next(fromClient bool) (flags string, seq, ack uint32, data string) {
	me, peer := 0, 1
	if !fromClient {
		me, peer = 1, 0
	}
	kinds := []string{"A", "A", "A", "PA", "FA", "FA", "R", "RA", "S", "SA"}
	flags = kinds[g.rng.IntN(len(kinds))]
	switch { // most games begin as they should
	case g.open == 0 && fromClient:
		flags, g.open = "S", 1
	case g.open == 1 && !fromClient && g.rng.IntN(4) > 0:
		flags, g.open = "SA", 2
	case g.open == 1 && !fromClient:
		flags, g.open = "S", 2
	case g.open == 2 && fromClient:
		flags, g.open = "A", 3
	}
	seq, ack = g.seq[me], g.seq[peer]
	switch g.rng.IntN(12) {
	case 0:
		seq += 1 + uint32(g.rng.IntN(50))
	case 1:
		seq -= uint32(g.rng.IntN(50))
	case 2:
		seq += 1 << 20
	case 3:
		ack += uint32(g.rng.IntN(3))
	case 4:
		ack -= uint32(g.rng.IntN(100))
	case 5:
		ack += 1 << 20
	}
	if flags == "PA" {
		data = strings.Repeat("x", g.rng.IntN(40))
	}
	if !strings.Contains(flags, "A") {
		ack = 0
	}
	if strings.HasPrefix(flags, "R") && g.rng.IntN(4) == 0 {
		seq = 0
	}
	if seq == g.seq[me] {
		g.seq[me] += uint32(len(data))
		if strings.ContainsAny(flags, "SF") {
			g.seq[me]++
		}
	}
	return flags, seq, ack, data
}

// TestKernelSCTP plays random chunks.
func TestKernelSCTP(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	o := newOracle(t)
	rng := rand.New(rand.NewPCG(13, 14))
	opening := []string{"\x01", "\x02", "\x0a", "\x0b"}
	other := "\x00\x01\x02\x04\x05\x07\x08\x09\x0a\x0b"
	for port := uint16(3000); port < 3150; port++ {
		o.log = nil
		for i := range 10 {
			fromClient, chunk := i%2 == 0, ""
			if i < len(opening) && rng.IntN(5) > 0 {
				chunk = opening[i]
			} else {
				chunk = string(other[rng.IntN(len(other))])
				fromClient = rng.IntN(2) == 0
			}
			chunk += "\x00" + "\x00\x00\x00\x07initiate tag etc"
			src, sport, dst, dport, from := kClient, port, kServer, uint16(80), "a0"
			if !fromClient {
				src, sport, dst, dport, from = kServer, 80, kClient, port, "b0"
			}
			pkt := sctp(src, sport, dst, dport, chunk)
			o.both(from, pkt)
			o.compareEntries(fmt.Sprintf("sport=%d dport=80", port))
		}
	}
}

// TestKernelTranslation compares the bytes of translated packets and of ICMP errors about them.
func TestKernelTranslation(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	o := newOracle(t)
	rng := rand.New(rand.NewPCG(15, 16))
	types := [][2]uint8{{3, 0}, {3, 1}, {3, 3}, {3, 4}, {11, 0}, {12, 0}, {4, 0}, {5, 1}}
	for i := range uint16(300) {
		o.log = nil
		src, back := kClient, kClient
		if rng.IntN(2) == 0 {
			src, back = kHidden, kGateway
		}
		dst := kService
		if rng.IntN(4) == 0 {
			dst = kServer
		}
		port, data := 4000+i, strings.Repeat("d", rng.IntN(60))
		var request, answer []byte
		switch rng.IntN(4) {
		case 0:
			request, answer = udp(src, port, dst, 5353, data), udp(kServer, 5353, back, port, data+"answer")
			if rng.IntN(4) == 0 {
				request[26], request[27] = 0, 0
			}
		case 1:
			request, answer = tcp(src, port, dst, 8080, "S", 1, 0, ""), tcp(kServer, 8080, back, port, "SA", 1, 2, "")
		case 2:
			request, answer = icmp(src, dst, 8, 0, port, 1, []byte(data)), icmp(kServer, back, 0, 0, port, 1, []byte(data))
		case 3:
			request = sctp(src, port, dst, 8080, "\x01\x00\x00\x00\x00\x07initiate tag etc")
			answer = sctp(kServer, 8080, back, port, "\x02\x00\x00\x00\x00\x07initiate tag etc")
		}
		if dst == kServer && src == kClient && rng.IntN(2) == 0 {
			request = patch(request, 6, 0) // without DF, as good
		}
		o.both("a0", request)
		outer := bytes.Clone(request) // as the server side sees it
		c := o.table.Track(time.Since(o.start), outer)
		_ = o.table.Translate(c, Dst, outer)
		_ = o.table.Translate(c, Src, outer)
		size := 28
		if outer[9] != protoSCTP && rng.IntN(2) == 0 {
			size = len(outer) // the kernel computes a CRC over whatever part of an SCTP packet is quoted
		}
		for range 2 {
			typ := types[rng.IntN(len(types))]
			o.both("b0", icmpError(kServer, back, typ[0], typ[1], outer, size))
		}
		o.both("b0", answer)
		o.both("a0", request)
		seen := bytes.Clone(answer)
		c = o.table.Track(time.Since(o.start), seen)
		_ = o.table.Translate(c, Dst, seen)
		_ = o.table.Translate(c, Src, seen)
		typ := types[rng.IntN(len(types))]
		if seen[9] != protoSCTP {
			o.both("a0", icmpError(src, dst, typ[0], typ[1], seen, 28))
		}
	}
}
