package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A real program reaches a pod of `podwire up` over its TAP, and SIGINT ends it
// cleanly. Both are in a network namespace of their own.
func TestUpJoinsThisMachine(t *testing.T) {
	inNetns(t, func() error { return up(t.TempDir()) })
}

// explain follows a packet to this machine's kernel and its answer, in real time.
func TestExplainReachesThisMachine(t *testing.T) {
	scenario := filepath.Join(t.TempDir(), "real.yaml")
	const text = "pods: [{name: a, node: node1}]\nhosts: [{name: laptop, tap: pw0}]\nsteps:\n- ping: {from: a, to: laptop}\n"
	if err := os.WriteFile(scenario, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	inNetns(t, func() error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cmd := exec.Command(self, "explain", scenario, "--real-time", "--from", "a", "--to", "laptop")
		cmd.Args[0] = "podwire" // see TestMain
		out, err := cmd.CombinedOutput()
		for _, want := range []string{"IP node1 > laptop: ICMP echo request", "\na's ping to laptop was delivered, and laptop answered with an echo reply"} {
			if !strings.Contains(string(out), want) {
				err = errors.Join(err, fmt.Errorf("no %q in\n%s", want, out))
			}
		}
		return err
	})
}

// inNetns calls f in a network namespace of its own.
func inNetns(t *testing.T, f func() error) {
	t.Helper()
	const none = "PODWIRE_NO_IPTABLES"
	if os.Getenv(none) == "1" {
		t.Skip(none + "=1 says that there is no kernel to ask")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends, and the namespace with it
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("unshare: %w (needs root; set %s=1 to go without)", err, none)
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func up(dir string) error {
	capture := filepath.Join(dir, "up.pcapng")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "up", "../../examples/quickstart.yaml", "--tap", "pw0", "--pcap", capture)
	cmd.Args[0] = "podwire" // see TestMain
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "up; Ctrl-C") {
	}
	for _, to := range []string{"10.244.2.2:80", "192.168.56.11:30001"} { // pod web, and a nodePort
		if err := hello(to); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	rest, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || len(rest) > 0 {
		return fmt.Errorf("interrupted: %w, prints %q, want neither", err, rest)
	}
	if _, err := net.InterfaceByName("pw0"); err == nil {
		return errors.New("the device is still there")
	}
	_, err = os.Stat(capture)
	return err
}

// hello asks a web server of the lab for its name.
func hello(to string) error {
	c, err := net.DialTimeout("tcp", to, 20*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "GET /hostname HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(c)
	if err == nil && !strings.HasPrefix(string(b), "HTTP/1.0 200 OK") {
		err = fmt.Errorf("found %q, want 200 OK", b)
	}
	return err
}
