package kube

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// bigCluster has n Services of 10 pods each.
func bigCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c := newCluster(t)
	ip := netip.MustParseAddr("10.244.0.1")
	for i := range n {
		app := fmt.Sprintf("app-%d", i)
		for j := range 10 {
			p := &corev1.Pod{ObjectMeta: meta(fmt.Sprintf("%s-%d", app, j))}
			p.Labels = map[string]string{"app": app, "tier": "all"}
			p.Spec.NodeName = fmt.Sprintf("node%d", j)
			p.Spec.Containers = []corev1.Container{{Name: "c"}}
			p.Status.PodIP = ip.String()
			ip = ip.Next()
			addPods(t, c, p)
		}
		addService(t, c, service(app, func(s *corev1.Service) {
			s.Spec.Selector = map[string]string{"app": app}
			s.Spec.Ports[0].TargetPort = intstr.FromInt32(8080)
		}))
	}
	return c
}

func TestLargeClusterLeavesOutEndpointComments(t *testing.T) {
	at := onNode1(t).IPTables(bigCluster(t, 100)) // 1000 endpoints
	if n := strings.Count(at, " -> 10.244."); n != 1000 {
		t.Errorf("1000 endpoints: %d comments on them, want 1000", n)
	}
	above := onNode1(t).IPTables(bigCluster(t, 101))
	if n := strings.Count(above, " -> 10.244."); n != 0 {
		t.Errorf("1010 endpoints: %d comments on them, want none", n)
	}
	if n := strings.Count(above, " cluster IP\""); n != 202 {
		t.Errorf("1010 endpoints: %d comments on cluster IPs, want 202: two per Service", n)
	}
	restore(t, above, "--test")
}

func TestAnotherProxysServiceIsLeftAlone(t *testing.T) {
	c := newCluster(t)
	addService(t, c, service("web", func(s *corev1.Service) { s.Labels = map[string]string{labelProxyName: "other"} }))
	if got, want := onNode1(t).IPTables(c), onNode1(t).IPTables(newCluster(t)); got != want {
		t.Errorf("rules for it:\n%s", lineDiff(got, want))
	}
}

func TestRulesDoNotDependOnTheOrderOfArrival(t *testing.T) {
	build := func(reverse bool) string {
		c := newCluster(t)
		n := 30
		for i := range n {
			if reverse {
				i = n - 1 - i
			}
			addService(t, c, service(fmt.Sprintf("s%02d", i), clusterIP(fmt.Sprintf("10.96.0.%d", 20+i))))
			addPods(t, c, webPod(fmt.Sprintf("p%02d", i), fmt.Sprintf("10.244.1.%d", i+2), "node1"))
		}
		return onNode1(t).IPTables(c)
	}
	if build(false) != build(true) {
		t.Error("the same objects in another order gave another text")
	}
}

// Time grows with the number of Services, not with its square: a pod change
// touches its own Service only.
func TestAPodChangeTouchesOnlyItsServices(t *testing.T) {
	c := bigCluster(t, 50)
	onNode1(t).IPTables(c)
	if err := c.RemovePod("", "app-7-3"); err != nil {
		t.Fatal(err)
	}
	var stale []string
	for _, e := range c.entries() {
		if e.ports == nil {
			stale = append(stale, e.name.Name)
		}
	}
	if fmt.Sprint(stale) != "[app-7]" {
		t.Errorf("to be computed anew: %v, want [app-7]", stale)
	}
}

// The connection table may hold 262144 entries, each of which is compared.
func TestStaleDoesNotAllocate(t *testing.T) {
	f := UDPFrontend{Port: 53, Serving: addrs("10.244.1.2", "10.244.1.3")}
	dst, reply := addrPort("10.96.0.10:53"), addrs("10.244.9.9")[0]
	if n := testing.AllocsPerRun(100, func() { f.Stale(dst, reply) }); n != 0 {
		t.Errorf("Stale: %v allocations, want 0", n)
	}
}

func BenchmarkIPTables10000Services(b *testing.B) {
	c := bigCluster(b, 10000)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			c.invalidateAll()
			onNode1(b).IPTables(c)
		}
	})
	b.Run("cached", func(b *testing.B) {
		p := onNode1(b)
		for b.Loop() {
			b.SetBytes(int64(len(p.Sync(c))))
		}
	})
}

func BenchmarkSync100Services(b *testing.B) {
	c, p := bigCluster(b, 100), onNode1(b)
	b.ReportAllocs()
	for b.Loop() {
		p.Sync(c)
	}
}
