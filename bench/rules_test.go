package bench

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/netfilter"
)

// BenchmarkRules is what a node does when kube-proxy starts in a cluster of 10,000
// Services with 10 endpoints each: write the rules, as one text, read it, and make
// chains of it that packets can pass. Its CPU time counts (cpu-s/op), which other
// programs on the machine disturb less than its time; heap-MB is what stays in
// memory of text, or of rules.
func BenchmarkRules(b *testing.B) {
	const services, endpoints = 10_000, 10
	c := clusterOf(b, services, endpoints)
	proxy := func() *kube.Proxy {
		p, err := kube.NewProxy(kube.ProxyConfig{NodeName: "node1", ClusterCIDR: c.Config().PodCIDR})
		fatal(b, err)
		return p
	}
	text := proxy().IPTables(c)
	script, err := netfilter.Parse(text)
	fatal(b, err)
	var keep any
	measure := func(name string, prepare, f func()) {
		b.Run(fmt.Sprintf("services=%d/step=%s", services, name), func(b *testing.B) {
			var cpu, heap float64
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				keep = nil
				prepare()
				live, began := liveHeap(), cpuTime()
				b.StartTimer()
				f()
				b.StopTimer()
				cpu += (cpuTime() - began).Seconds()
				heap += liveHeap() - live
				b.StartTimer()
			}
			b.ReportMetric(cpu/float64(b.N), "cpu-s/op")
			b.ReportMetric(heap/float64(b.N)/1e6, "heap-MB")
			runtime.KeepAlive(keep)
		})
	}
	// A change of a node makes every endpoint be looked at again.
	touch := func() { fatal(b, c.AddNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}})) }
	measure("write", touch, func() { keep = proxy().IPTables(c) })
	measure("read", func() {}, func() {
		s, err := netfilter.Parse(text)
		fatal(b, err)
		keep = s
	})
	drv := link.NewDriver(link.DriverConfig{})
	b.Cleanup(drv.Close)
	apply := func(s *netfilter.Script) {
		drv.Do(func() {
			h := stack.NewHost(drv, stack.Config{Name: "node1", Forward: true})
			fatal(b, h.Netfilter().Apply(s, netfilter.RestoreOptions{}))
			h.RulesChanged()
			keep = h
		})
	}
	measure("load", func() {}, func() { apply(script) })
	measure("all", touch, func() {
		s, err := netfilter.Parse(proxy().IPTables(c))
		fatal(b, err)
		apply(s)
	})
}

// clusterOf is a cluster with so many Services, each of as many pods.
func clusterOf(b *testing.B, services, endpoints int) *kube.Cluster {
	c, err := kube.NewCluster(kube.Config{PodCIDR: netip.MustParsePrefix("10.128.0.0/9"), ServiceCIDR: netip.MustParsePrefix("10.64.0.0/12")})
	fatal(b, err)
	ip := netip.MustParseAddr("10.128.1.1")
	for i := range services {
		app := fmt.Sprintf("app-%d", i)
		for j := range endpoints {
			fatal(b, c.AddPod(&corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", app, j), Namespace: "default", Labels: map[string]string{"app": app}},
				Spec:       corev1.PodSpec{NodeName: fmt.Sprintf("node%d", 1+j), Containers: []corev1.Container{{Name: "c"}}},
				Status:     corev1.PodStatus{PodIP: ip.String()},
			}))
			ip = ip.Next()
		}
		fatal(b, c.AddService(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: app, Namespace: "default"},
			Spec: corev1.ServiceSpec{
				Selector: map[string]string{"app": app},
				Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
			},
		}))
	}
	return c
}
