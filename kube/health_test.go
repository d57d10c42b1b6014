package kube

import (
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestHealthChecksCountLocalReadyEndpointsByAddress(t *testing.T) {
	c := newCluster(t)
	for _, p := range []*corev1.Pod{
		webPod("a", "10.244.1.2", "node1"), webPod("b", "10.244.1.3", "node1"),
		notReady(webPod("c", "10.244.1.4", "node1")), webPod("d", "10.244.2.2", "node2"),
	} {
		if err := c.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	addService(t, c, service("plain"))
	addService(t, c, service("web", loadBalancer("203.0.113.9"), externalLocal, func(s *corev1.Service) {
		s.Spec.HealthCheckNodePort = 30003
		s.Spec.Ports = []corev1.ServicePort{{Name: "a", Port: 80}, {Name: "b", Port: 81}} // an address counts once
	}))
	for node, want := range map[string]int{"node1": 2, "node2": 1, "node3": 0} {
		list := c.HealthChecks(node)
		if len(list) != 1 || list[0].Service.Name != "web" || list[0].Port != 30003 || list[0].LocalEndpoints != want {
			t.Errorf("%s answers %+v, want web on 30003 with %d endpoints", node, list, want)
		}
	}
}

func TestHealthCheckAnswersAnyRequest(t *testing.T) {
	h := HealthCheck{LocalEndpoints: 2}
	h.Service.Namespace, h.Service.Name = "prod", "web"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/any/path", nil))
	if got := w.Header().Get("X-Load-Balancing-Endpoint-Weight"); w.Code != 200 || got != "2" {
		t.Errorf("status %d, weight %q, want 200 and 2", w.Code, got)
	}
}
