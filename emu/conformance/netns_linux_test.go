package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/podwire/podwire/emu"
)

// A netns is a network namespace of the real kernel, and a thread in it. It has
// no name, and is gone when the test has ended.
type netns struct {
	t     *testing.T
	tid   int
	calls chan func()
}

// newNetns makes a namespace. Without root the test fails, unless somebody has
// said that this is all right.
func newNetns(t *testing.T) *netns {
	t.Helper()
	if os.Getenv(noIPTables) == "1" {
		t.Skip(noIPTables + "=1 says that there is no kernel to ask")
	}
	n := &netns{t: t, calls: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends, and the namespace with it
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		n.tid = syscall.Gettid()
		ready <- err
		for f := range n.calls {
			f()
		}
	}()
	if err := <-ready; err != nil {
		close(n.calls)
		t.Fatalf("unshare: %v (needs root; set %s=1 to go without)", err, noIPTables)
	}
	t.Cleanup(func() { close(n.calls) })
	n.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
	n.run("ip link set lo up")
	return n
}

// do calls f on the thread of the namespace: sockets that it opens and programs
// that it starts are in there.
func (n *netns) do(f func()) {
	done := make(chan struct{})
	n.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// run runs a command of the shell in the namespace.
func (n *netns) run(format string, args ...any) {
	n.t.Helper()
	command := fmt.Sprintf(format, args...)
	n.do(func() {
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			n.t.Errorf("%s: %v: %s", command, err, out)
		}
	})
}

// output is what a command of the shell prints in the namespace; if it fails, what
// it complains of.
func (n *netns) output(format string, args ...any) (out string) {
	n.do(func() {
		b, _ := exec.Command("sh", "-c", fmt.Sprintf(format, args...)).CombinedOutput()
		out = string(b)
	})
	return out
}

// patience bounds what waits for a kernel, and is never used up.
const patience = 20 * time.Second

// ping sends one echo request from the namespace and returns the TTL of the answer.
func (n *netns) ping(to netip.Addr) (ttl int, err error) {
	n.do(func() {
		var c *icmp.PacketConn
		if c, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0"); err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		c.IPv4PacketConn().SetControlMessage(ipv4.FlagTTL, true)
		request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 4711, Seq: 1, Data: bytes.Repeat([]byte("podwire "), 7)}}
		b, _ := request.Marshal(nil)
		if _, err = c.WriteTo(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return
		}
		for buf := make([]byte, 1500); ; {
			m, cm, _, e := c.IPv4PacketConn().ReadFrom(buf)
			if e != nil {
				err = e
				return
			}
			answer, e := icmp.ParseMessage(1, buf[:m])
			if echo, ok := answer.Body.(*icmp.Echo); e == nil && ok && answer.Type == ipv4.ICMPTypeEchoReply && echo.ID == 4711 {
				ttl = cm.TTL
				return
			}
		}
	})
	return ttl, err
}

// dial connects from the namespace.
func (n *netns) dial(to string) (c net.Conn, err error) {
	n.do(func() { c, err = net.DialTimeout("tcp", to, patience) })
	return c, err
}

// listen listens in the namespace.
func (n *netns) listen() (l net.Listener, port int) {
	n.t.Helper()
	var err error
	n.do(func() { l, err = net.Listen("tcp4", "0.0.0.0:0") })
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// pod gives a namespace that is a node one more that is a pod of it, behind the
// node's cni0 with the first two addresses of podCIDR.
func (n *netns) pod(podCIDR netip.Prefix, mtu int) (*netns, netip.Addr) {
	n.t.Helper()
	pod := newNetns(n.t)
	gateway := podCIDR.Addr().Next()
	n.run("sysctl -q -w net.ipv4.ip_forward=1")
	n.run("ip link add cni0 mtu %d type bridge && ip addr add %v/%d dev cni0 && ip link set cni0 up", mtu, gateway, podCIDR.Bits())
	n.run("ip link add veth0 mtu %d type veth peer name eth0 mtu %d netns %d && ip link set veth0 master cni0 up", mtu, mtu, pod.tid)
	pod.run("ip addr add %v/%d dev eth0 && ip link set eth0 up && ip route add default via %v", gateway.Next(), podCIDR.Bits(), gateway)
	return pod, gateway.Next()
}

// realTime is a lab in real time, and a capture of all of it that is read when
// the test has played: nothing in it may be malformed.
func realTime(t *testing.T, cfg emu.Config, play func(lab *emu.Lab)) frames {
	t.Helper()
	needTshark(t)
	t.Parallel()
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lab, err := emu.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := lab.Capture(f, emu.CaptureConfig{Comment: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	play(lab)
	if err := errors.Join(c.Close(), lab.Close()); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	list := decode(t, path)
	for _, f := range list {
		wantClean(t, f)
	}
	return list
}

// bulk is what one direction of a connection carries: many segments, and no two
// parts of it alike.
var bulk = func() []byte {
	b := make([]byte, 96<<10)
	for i, x := 0, uint32(1); i < len(b); i++ {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}()

// serveEcho sends one connection's bytes back.
func serveEcho(l net.Listener) <-chan error {
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.SetDeadline(time.Now().Add(patience))
			_, err = io.Copy(c, c)
			err = errors.Join(err, c.Close())
		}
		done <- err
	}()
	return done
}

// exchangeBulk sends bulk over a connection, wants it back, and waits for the other
// end.
func exchangeBulk(c net.Conn, server <-chan error) error {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(bulk)
		sent <- errors.Join(err, c.(interface{ CloseWrite() error }).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, bulk) {
		err = fmt.Errorf("%d bytes came back, want the %d that were sent", len(got), len(bulk))
	}
	return errors.Join(err, <-sent, <-server)
}
