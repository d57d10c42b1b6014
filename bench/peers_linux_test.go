package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newVethPair joins client and server by a veth pair between two network
// namespaces.
func newVethPair(tb testing.TB) pair {
	tb.Helper()
	return newKernelPair(tb, "10.98.0.2", "netns A link set v up", "netns B link set v up",
		"netns A addr add 10.98.0.1/24 dev v", "netns B addr add 10.98.0.2/24 dev v")
}

// newKernelVXLANPair joins them by the kernel's VXLAN between bridges, over a veth
// pair: what flannel makes, without its iptables.
func newKernelVXLANPair(tb testing.TB) pair {
	tb.Helper()
	commands := []string{"netns A addr add 10.98.0.1/24 dev v", "netns B addr add 10.98.0.2/24 dev v"}
	for i, ns := range []string{"A", "B"} {
		commands = append(commands, "netns "+ns+" link set v up",
			fmt.Sprintf("netns %s link add vx type vxlan id 1 remote 10.98.0.%d dstport 8472 dev v", ns, 2-i),
			"netns "+ns+" link add name br0 type bridge", "netns "+ns+" link set vx mtu 1450 master br0 up",
			fmt.Sprintf("netns %s addr add 10.97.0.%d/24 dev br0", ns, 1+i), "netns "+ns+" link set br0 mtu 1450 up")
	}
	return newKernelPair(tb, "10.97.0.2", commands...)
}

// newKernelPair makes two namespaces with a veth pair, runs ip with the commands,
// in which A and B stand for the namespaces, and listens in B. All of it is gone
// after the benchmark.
func newKernelPair(tb testing.TB, server string, commands ...string) pair {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("network namespaces want root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		tb.Skip("network namespaces want iproute2: ", err)
	}
	a, b := fmt.Sprintf("podwire-bench-a-%d", os.Getpid()), fmt.Sprintf("podwire-bench-b-%d", os.Getpid())
	ip := func(command string) error {
		words := strings.Fields(command)
		if words[0] == "netns" && (words[1] == "A" || words[1] == "B") {
			words = append([]string{"-n", words[1]}, words[2:]...)
		}
		for i, w := range words {
			switch w {
			case "A":
				words[i] = a
			case "B":
				words[i] = b
			}
		}
		if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(words, " "), err, out)
		}
		return nil
	}
	tb.Cleanup(func() {
		ip("netns del A")
		ip("netns del B")
	})
	for _, c := range append([]string{"netns add A", "netns add B", "link add v netns A type veth peer name v netns B"}, commands...) {
		if err := ip(c); err != nil {
			tb.Skip("the kernel lacks something: ", err)
		}
	}
	var ln net.Listener
	err := inNamespace(b, func() (err error) {
		ln, err = net.Listen("tcp", server+":0")
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return pair{listener: ln, dial: func() (c net.Conn, err error) {
		err = inNamespace(a, func() (err error) {
			c, err = net.Dial("tcp", ln.Addr().String())
			return err
		})
		return c, err
	}}
}

// inNamespace calls f in a network namespace. Its thread ends with it, because no
// other goroutine may run there; sockets stay where they were made.
func inNamespace(name string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		file, err := os.Open("/run/netns/" + name)
		if err == nil {
			defer file.Close()
			if err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err == nil {
				err = f()
			}
		}
		done <- err
	}()
	return <-done
}
