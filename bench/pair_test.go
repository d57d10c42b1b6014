package bench

import (
	"net"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
)

// pair is a server that listens and a client that knows how to reach it.
type pair struct {
	listener net.Listener
	dial     func() (net.Conn, error)
}

// paths are the ways from client to server that are compared; bare comes first.
var paths = []struct {
	name string
	make func(testing.TB) pair
}{
	{"bare", newBarePair},
	{"same-node", func(tb testing.TB) pair { return newLabPair(tb, "node1", "server:80") }},
	{"vxlan", func(tb testing.TB) pair { return newLabPair(tb, "node2", "server:80") }},
	{"clusterip", func(tb testing.TB) pair { return newLabPair(tb, "node2", "web:80") }},
	{"net-pipe", newPipePair},
	{"loopback", newLoopbackPair},
	{"kernel-veth", newVethPair},
	{"kernel-vxlan", newKernelVXLANPair},
}

// newLabPair returns a client pod on node1 and a server pod in a lab of two
// nodes in real time, ended with the benchmark.
func newLabPair(tb testing.TB, serverNode, address string) pair {
	tb.Helper()
	lab, err := emu.New(emu.Config{Nodes: 2})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := lab.Close(); err != nil {
			tb.Error(err)
		}
	})
	p, err := labPair(lab, serverNode, address)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// labPair adds client, server and a Service named web to a lab.
func labPair(lab *emu.Lab, serverNode, address string) (pair, error) {
	labels := map[string]string{"app": "web"}
	server, err := lab.AddPod(emu.PodConfig{Name: "server", Node: serverNode, Labels: labels})
	if err != nil {
		return pair{}, err
	}
	client, err := lab.AddPod(emu.PodConfig{Name: "client", Node: "node1"})
	if err != nil {
		return pair{}, err
	}
	if _, err := lab.AddService(webService(labels)); err != nil {
		return pair{}, err
	}
	ln, err := server.Listen("tcp", ":80")
	if err != nil {
		return pair{}, err
	}
	return pair{listener: ln, dial: func() (net.Conn, error) { return client.Dial("tcp", address) }}, nil
}

func webService(selector map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: metav1.NamespaceDefault},
		Spec: corev1.ServiceSpec{
			Selector: selector,
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}},
		},
	}
}
