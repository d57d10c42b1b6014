package emu_test

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

// behindProxy runs a test with a container whose HTTP port is published as 8080
// of its docker host.
func behindProxy(t *testing.T, f func(t *testing.T, lab *emutest.Lab, node *emu.Node, pod *emutest.Pod)) {
	t.Helper()
	emutest.Run(t, emu.Config{Nodes: 1, Design: "docker-bridge"}, func(t *testing.T, lab *emutest.Lab) {
		f(t, lab, lab.Node("node1"), lab.AddPod(emu.PodConfig{Name: "c1", Ports: []corev1.ContainerPort{{HostPort: 8080, ContainerPort: 80}}}))
	})
}

// TestUserProxyHalfClose: the proxy passes on that one side has finished, and
// all that the other still has to say.
func TestUserProxyHalfClose(t *testing.T) {
	behindProxy(t, func(t *testing.T, lab *emutest.Lab, node *emu.Node, _ *emutest.Pod) {
		body := bytes.Repeat([]byte("podwire "), 100_000)
		resp, err := node.HTTPClient().Post("http://127.0.0.1:8080/echo", "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("echo of %d bytes: got %d, %v", len(body), len(got), err)
		}
		c, err := node.Dial("tcp", "127.0.0.1:8080")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET /hostname HTTP/1.1\r\nHost: c1\r\nConnection: close\r\n\r\n")
		if err := c.(*stack.Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.HasSuffix(got, []byte("\r\n\r\nc1")) {
			t.Errorf("answer %q, %v, want one that ends in c1", got, err)
		}
	})
}

// TestUserProxyEndsWithItsPod: connections through the proxy end with the pod,
// and the port is free again.
func TestUserProxyEndsWithItsPod(t *testing.T) {
	behindProxy(t, func(t *testing.T, lab *emutest.Lab, node *emu.Node, pod *emutest.Pod) {
		c, err := node.Dial("tcp", "127.0.0.1:8080")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		lab.Sleep(0)
		if err := lab.RemovePod(pod.Pod); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("read after the pod is gone = %d bytes, want an end", n)
		}
		if d, err := node.Dial("tcp", "127.0.0.1:8080"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after the pod is gone = %v, %v, want connection refused", d, err)
		}
		lab.AddPod(emu.PodConfig{Name: "c2", Ports: []corev1.ContainerPort{{HostPort: 8080, ContainerPort: 80}}})
		if got := emutest.Get(t, &node.Machine, "http://127.0.0.1:8080/hostname"); got != "c2" {
			t.Errorf("the next pod with the port: %q, want c2", got)
		}
	})
}
