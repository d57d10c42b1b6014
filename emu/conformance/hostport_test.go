package conformance

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// A hostPort leads to its pod on the pod's own node only. A client keeps its
// address unless the answer would miss the node's translation: from the pod's
// subnet and from 127.0.0.1 it is masqueraded. (A1, portmap.)
func TestHostPort(t *testing.T) {
	var web *emutest.Pod
	var laptop *emu.Host
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		web = lab.AddPod(emu.PodConfig{Name: "web", Node: "node1", Ports: []corev1.ContainerPort{published(8080, 80)}})
		p1b, p2a := lab.Pod("p1b", "node1"), lab.Pod("p2a", "node2")
		laptop = lab.Host("laptop")
		for _, x := range []struct {
			from *emu.Machine
			url  string
			want string
		}{
			{&laptop.Machine, "http://node1:8080/clientip", laptop.Addr().String()},
			{&p2a.Machine, "http://node1:8080/clientip", "192.168.56.12"}, // flannel masquerades it on node2
			{&p1b.Machine, "http://node1:8080/clientip", "10.244.1.1"},
			{&web.Machine, "http://node1:8080/clientip", "10.244.1.1"},
			{&lab.Node("node1").Machine, "http://127.0.0.1:8080/clientip", "10.244.1.1"},
			{&lab.Node("node1").Machine, "http://192.168.56.11:8080/clientip", "192.168.56.11"},
		} {
			if got := emutest.Get(t, x.from, x.url); !strings.HasPrefix(got, x.want+":") {
				t.Errorf("GET %s from %s: the pod sees %s, want %s", x.url, x.from.Name(), got, x.want)
			}
		}
		refused := func(sentence, address string) {
			if c, err := laptop.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: dial %s = %v, %v, want connection refused", sentence, address, c, err)
			}
		}
		refused("another node", "node2:8080")
		_, err := lab.AddPodObject(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web2"},
			Spec: corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{
				{Name: "main", Image: "podwire", Ports: []corev1.ContainerPort{published(8080, 81)}},
			}},
		})
		if want := "node1: host port 0.0.0.0:8080/tcp is that of pod web"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the port once more: %v, want %s", err, want)
		}
		if web2 := lab.AddPod(emu.PodConfig{Name: "web2", Ports: []corev1.ContainerPort{published(8080, 81)}}); web2.Node().Name() != "node2" {
			t.Errorf("a second pod with the port is placed on %s, want node2, where it is free", web2.Node().Name())
		}
		if err := lab.RemovePod(web.Pod); err != nil {
			t.Fatal(err)
		}
		refused("after the pod is gone", "node1:8080")
	})
	ask := s.on(eth0(laptop)).out().where("tcp.flags", syn, "tcp.dstport", "8080")[0]
	s.id(ask.id).on(eth0(web)).one(t, "SYN of the laptop at the pod").
		want(t, "ip.src", laptop.Addr().String(), "tcp.srcport", ask.get("tcp.srcport"), "tcp.dstport", "80", "ip.ttl", "63")
}
