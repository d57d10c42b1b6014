package emu_test

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// webService is a Service in front of the pods with label app=web.
func webService(change func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

// webPods adds pods that answer for webService, each on the node given.
func webPods(lab *emutest.Lab, nodes ...string) []*emutest.Pod {
	var pods []*emutest.Pod
	for i, n := range nodes {
		pods = append(pods, lab.AddPod(emu.PodConfig{
			Name: string(rune('a' + i)), Node: n, Labels: map[string]string{"app": "web"}, Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
		}))
	}
	return pods
}

// reached lists who answers twenty connections, each name once.
func reached(t *testing.T, m *emu.Machine, url string) string {
	t.Helper()
	var names []string
	for range 20 {
		name := emutest.Get(t, m, url)
		m.HTTPClient().CloseIdleConnections()
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	text := ""
	for _, n := range names {
		text += n
	}
	return text
}

func TestTerminatingEndpointsServeIfNobodyElseDoes(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		pods := webPods(lab, "node1", "node2")
		client := lab.Pod("client", "node1")
		if _, err := lab.AddService(webService(nil)); err != nil {
			t.Fatal(err)
		}
		if got := reached(t, &client.Machine, "http://web/hostname"); got != "ab" {
			t.Errorf("both ready: %s answer, want ab", got)
		}
		if err := lab.Terminate(pods[0].Pod, 30*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := reached(t, &client.Machine, "http://web/hostname"); got != "b" {
			t.Errorf("a is terminating: %s answer, want b", got)
		}
		if err := lab.SetReady(pods[1].Pod, false); err != nil {
			t.Fatal(err)
		}
		if got := reached(t, &client.Machine, "http://web/hostname"); got != "a" {
			t.Errorf("a is terminating and b not ready: %s answer, want a", got)
		}
		lab.Sleep(30 * time.Second)
		if lab.Lab.Pod("a") != nil {
			t.Error("a is there after its grace period")
		}
		if c, err := client.Dial("tcp", "web:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a is gone and b not ready: %v, %v, want connection refused", c, err)
		}
		if err := lab.SetReady(pods[1].Pod, true); err != nil {
			t.Fatal(err)
		}
		if got := reached(t, &client.Machine, "http://web/hostname"); got != "b" {
			t.Errorf("b is ready again: %s answer, want b", got)
		}
		if err := lab.Terminate(pods[0].Pod, 0); err == nil || err.Error() != "emu: pod default/a was removed before" {
			t.Errorf("terminating a pod that is gone: %v", err)
		}
	})
}

func TestPublishNotReadyAddresses(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		pods := webPods(lab, "node1")
		client := lab.Pod("client", "node1")
		if err := lab.SetReady(pods[0].Pod, false); err != nil {
			t.Fatal(err)
		}
		if _, err := lab.AddService(webService(func(s *corev1.ServiceSpec) { s.PublishNotReadyAddresses = true })); err != nil {
			t.Fatal(err)
		}
		if got := client.Get("http://web/hostname"); got != "a" {
			t.Errorf("GET = %q, want a", got)
		}
	})
}

func TestInternalTrafficPolicyLocal(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		webPods(lab, "node1", "node2")
		near := lab.Pod("near", "node1")
		local := corev1.ServiceInternalTrafficPolicyLocal
		if _, err := lab.AddService(webService(func(s *corev1.ServiceSpec) { s.InternalTrafficPolicy = &local })); err != nil {
			t.Fatal(err)
		}
		if got := reached(t, &near.Machine, "http://web/hostname"); got != "a" {
			t.Errorf("from node1: %s answer, want a", got)
		}
		if err := lab.RemovePod(lab.Lab.Pod("a")); err != nil {
			t.Fatal(err)
		}
		c, err := near.Dial("tcp", "web:80") // none local: dropped, not refused
		if !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("without a local endpoint: %v, %v, want a timeout", c, err)
		}
	})
}

func TestExternalIPs(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		webPods(lab, "node2")
		client := lab.Pod("client", "node1")
		if _, err := lab.AddService(webService(func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"198.51.100.9"} })); err != nil {
			t.Fatal(err)
		}
		// A node catches the address, whoever's it may be in the world.
		if got := client.Get("http://198.51.100.9/hostname"); got != "a" {
			t.Errorf("GET = %q, want a", got)
		}
	})
}

func TestTrafficDistributionStaysInTheZone(t *testing.T) {
	emutest.Run(t, emu.Config{}, func(t *testing.T, lab *emutest.Lab) {
		for i, zone := range []string{"east", "east", "west"} {
			if _, err := lab.AddNode(emu.NodeConfig{Labels: map[string]string{corev1.LabelTopologyZone: zone}}); err != nil {
				t.Fatal(i, err)
			}
		}
		webPods(lab, "node1", "node2", "node3")
		client := lab.Pod("client", "node2")
		for _, x := range []struct{ distribution, want string }{
			{corev1.ServiceTrafficDistributionPreferSameZone, "ab"}, {corev1.ServiceTrafficDistributionPreferSameNode, "b"},
		} {
			if _, err := lab.AddService(webService(func(s *corev1.ServiceSpec) { s.TrafficDistribution = &x.distribution })); err != nil {
				t.Fatal(err)
			}
			if got := reached(t, &client.Machine, "http://web/hostname"); got != x.want {
				t.Errorf("%s from node2: %s answer, want %s", x.distribution, got, x.want)
			}
			if err := lab.RemoveService("default", "web"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
