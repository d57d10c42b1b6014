package kube

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// FuzzService takes any object the decoder accepts through validation,
// allocation and the rules. What is accepted must come out as text of which
// every line is a rule: nothing in a name may break out of it.
func FuzzService(f *testing.F) {
	for _, s := range []string{
		`{}`,
		`{"metadata":{"name":"web"},"spec":{"ports":[{"port":80}],"selector":{"app":"web"}}}`,
		`{"metadata":{"name":"web"},"spec":{"type":"NodePort","ports":[{"port":80,"targetPort":"http","nodePort":30001}],"selector":{"app":"web"},"externalTrafficPolicy":"Local"}}`,
		`{"metadata":{"name":"web"},"spec":{"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{}},"ports":[{"port":53,"protocol":"UDP"}],"selector":{"app":"web"}}}`,
		`{"metadata":{"name":"web"},"spec":{"type":"LoadBalancer","loadBalancerSourceRanges":[" 10.0.0.0/8"],"ports":[{"port":80}]},"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.9"}]}}}`,
		`{"metadata":{"name":"web"},"spec":{"clusterIP":"None","type":"LoadBalancer","externalIPs":["::ffff:1.2.3.4",""]}}`,
		`{"metadata":{"name":"web","namespace":"a\nb"},"spec":{"clusterIPs":["None","10.96.0.1","fd00::1"],"internalTrafficPolicy":"Local","ports":[{"port":-1,"name":"\"","appProtocol":"x y"}]}}`,
		`{"metadata":{"name":"x"},"spec":{"type":"ExternalName","externalName":".","clusterIP":"10.96.0.1","ipFamilyPolicy":"SingleStack"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s corev1.Service
		if json.Unmarshal(data, &s) != nil {
			return
		}
		errs := ValidateService(&s)
		c := newCluster(t)
		threePods(t, c)
		err := c.AddService(&s)
		if len(errs) > 0 && err == nil {
			t.Fatalf("ValidateService found %v, AddService accepted the Service", errs)
		}
		if err != nil {
			return
		}
		if err := c.SetEndpointSlice(endpointSlice("x", s.Name, 80, "192.168.56.50")); err != nil && len(s.Name) <= 63 {
			t.Fatalf("slice for accepted Service %q: %v", s.Name, err)
		}
		checkRuleLines(t, onNode1(t).IPTables(c))
		c.UDPFrontends()
		if err := c.UpdateService(&s); err != nil {
			t.Fatalf("update with itself: %v", err)
		}
		if err := c.RemoveService(s.Namespace, s.Name); err != nil {
			t.Fatal(err)
		}
		if len(c.ips.used) != 1 || len(c.nodePorts.used) != 0 {
			t.Fatalf("left behind: %v %v", c.ips.used, c.nodePorts.used)
		}
	})
}

// checkRuleLines checks that each line is of a kind iptables-restore knows and
// that quotes pair up.
func checkRuleLines(t *testing.T, text string) {
	t.Helper()
	for l := range strings.Lines(text) {
		kind := strings.HasPrefix(l, "-A ") || strings.HasPrefix(l, ":") || strings.HasPrefix(l, "*") || l == "COMMIT\n"
		if !kind || strings.Count(l, `"`)%2 != 0 || strings.ContainsAny(l, "\r\x00\\'") {
			t.Fatalf("not a rule: %q", l)
		}
	}
}

// FuzzPodAndSlice does the same for the other objects.
func FuzzPodAndSlice(f *testing.F) {
	f.Add([]byte(`{"metadata":{"name":"a","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","ports":[{"name":"http","containerPort":8080}]}]},"status":{"podIP":"10.244.1.2"}}`),
		[]byte(`{"metadata":{"name":"s","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","ports":[{"name":"http","port":80}],"endpoints":[{"addresses":["10.1.1.1"],"hints":{"forZones":[{"name":"z"}]}}]}`))
	f.Add([]byte(`{"metadata":{"name":"a"},"spec":{"hostNetwork":true,"initContainers":[{}],"containers":[{"ports":[{},{"hostPort":-1}]}]},"status":{"podIP":"::1","podIPs":[{"ip":"fe80::1%eth0"}]}}`),
		[]byte(`{"metadata":{"name":"s"},"addressType":"FQDN","ports":[{"port":70000}],"endpoints":[{"addresses":["a.example.com."]},{"addresses":[]}]}`))
	f.Fuzz(func(t *testing.T, pod, slice []byte) {
		c := newCluster(t)
		addService(t, c, service("web"))
		var p corev1.Pod
		if json.Unmarshal(pod, &p) == nil && c.AddPod(&p) == nil {
			if err := c.UpdatePod(&p); err != nil {
				t.Fatalf("update with itself: %v", err)
			}
		}
		var s discoveryv1.EndpointSlice
		if json.Unmarshal(slice, &s) == nil {
			_ = c.SetEndpointSlice(&s) // refusing is fine
		}
		checkRuleLines(t, onNode1(t).IPTables(c))
	})
}
