package emu_test

import (
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// endpointsOf lists where default/kubernetes leads.
func endpointsOf(lab *emutest.Lab) []string {
	var list []string
	for _, port := range lab.Endpoints(lab.Nodes()[0], "default", "kubernetes") {
		for _, ep := range port.Endpoints {
			list = append(list, port.Port.Name+" "+ep.Addr.String())
		}
	}
	return list
}

// In a cluster with DNS, pods find the API server's Service in every mode of
// kube-proxy. Nobody listens: the node refuses. Somebody who does is reached.
func TestAPIServerService(t *testing.T) {
	for _, mode := range emu.ProxyModes() {
		t.Run(mode, func(t *testing.T) {
			emutest.Run(t, emu.Config{Nodes: 2, DNS: true, Proxy: mode}, func(t *testing.T, lab *emutest.Lab) {
				client := lab.Pod("client", "node2")
				if _, err := client.Dial("tcp", "kubernetes:443"); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("nobody listens: %v, want connection refused", err)
				}
				ln, err := lab.Node("node1").Machine.Listen("tcp", ":6443")
				if err != nil {
					t.Fatal(err)
				}
				lab.Go(func() {
					if c, err := ln.Accept(); err == nil {
						io.WriteString(c, "hello")
						c.Close()
					}
				})
				c, err := client.Dial("tcp", "kubernetes.default.svc.cluster.local:443")
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
					t.Errorf("read %q, %v, want hello", b, err)
				}
				c.Close()
				ln.Close()
			})
		})
	}
}

// The endpoints are the nodes of the control plane, where they are labelled.
func TestAPIServerEndpoints(t *testing.T) {
	emutest.Run(t, emu.Config{}, func(t *testing.T, lab *emutest.Lab) {
		for i := range 3 {
			var cfg emu.NodeConfig
			if i > 0 {
				cfg.Labels = map[string]string{"node-role.kubernetes.io/control-plane": ""}
			}
			if _, err := lab.Lab.AddNode(cfg); err != nil {
				t.Fatal(err)
			}
		}
		if s := lab.Lab.Service("default", "kubernetes"); s != nil {
			t.Errorf("without DNS there is %v", s)
		}
		if err := lab.AddDNS(emu.DNSConfig{}); err != nil {
			t.Fatal(err)
		}
		if got, want := endpointsOf(lab), []string{"https 192.168.56.12:6443", "https 192.168.56.13:6443"}; !slices.Equal(got, want) {
			t.Errorf("endpoints %v, want %v", got, want)
		}
	})
}

// With a selector pods are the API server, and the node's address is none of it.
func TestAPIServerInPods(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1, DNS: true}, func(t *testing.T, lab *emutest.Lab) {
		lab.AddPod(emu.PodConfig{Name: "api", Node: "node1", Labels: map[string]string{"app": "api"}})
		if _, err := lab.Lab.AddService(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "api"}, Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
		}); err != nil {
			t.Fatal(err)
		}
		if got, want := endpointsOf(lab), []string{"https " + lab.Lab.Pod("api").Addr().String() + ":443"}; !slices.Equal(got, want) {
			t.Errorf("endpoints %v, want %v", got, want)
		}
	})
}

// Somebody's own default/kubernetes and EndpointSlice take the place of the lab's,
// once; the cluster IP stays.
func TestAPIServerOfTheUser(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1, DNS: true}, func(t *testing.T, lab *emutest.Lab) {
		own := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 6443}}},
		}
		bad := own.DeepCopy()
		bad.Spec.ClusterIP = "10.96.0.77"
		if _, err := lab.Lab.AddService(bad); err == nil {
			t.Error("another cluster IP: no error, want the API server's: it is immutable")
		}
		s, err := lab.Lab.AddService(own)
		if err != nil || s.Spec.ClusterIP != "10.96.0.1" || s.Spec.Ports[0].Port != 6443 {
			t.Fatalf("own Service: %+v, %v, want port 6443 of 10.96.0.1", s, err)
		}
		if _, err := lab.Lab.AddService(own); err == nil {
			t.Error("twice: no error, want that it exists")
		}
		name, port := "https", int32(443)
		if err := lab.SetEndpointSlice(&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: "kubernetes", Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"192.168.56.40"}}},
		}); err != nil {
			t.Fatal(err)
		}
		if got, want := endpointsOf(lab), []string{"https 192.168.56.40:443"}; !slices.Equal(got, want) {
			t.Errorf("endpoints %v, want %v", got, want)
		}
	})
}
