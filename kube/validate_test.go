package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// serviceErrors is what the API server answers to a Service that is web with
// one change, in its exact words. Taken numbers are in TestClashes.
var serviceErrors = []struct {
	name   string
	change func(*corev1.Service)
	want   string // after `Service "web" is invalid: `
}{
	{"name missing", func(s *corev1.Service) { s.Name = "" },
		`metadata.name: Required value: name or generateName is required`},
	{"name", func(s *corev1.Service) { s.Name = "Web" },
		`metadata.name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`},
	{"name too long", func(s *corev1.Service) { s.Name = strings.Repeat("a", 64) },
		`metadata.name: Invalid value: "` + strings.Repeat("a", 64) + `": must be no more than 63 characters`},
	{"no ports", func(s *corev1.Service) { s.Spec.Ports = nil },
		`spec.ports: Required value`},
	{"port", func(s *corev1.Service) { s.Spec.Ports[0].Port = 70000 },
		`spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive`},
	{"target port 0 means the port", func(s *corev1.Service) { s.Spec.Ports[0].Port, s.Spec.Ports[0].TargetPort = 0, intstr.FromInt32(0) },
		`[spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive]`},
	{"target port", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(-1) },
		`spec.ports[0].targetPort: Invalid value: -1: must be between 1 and 65535, inclusive`},
	{"target port without a letter", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("8080") },
		`spec.ports[0].targetPort: Invalid value: "8080": must contain at least one letter (a-z)`},
	{"target port with two hyphens", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("a--b") },
		`spec.ports[0].targetPort: Invalid value: "a--b": must not contain consecutive hyphens`},
	{"target port with a dot", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("a.b") },
		`spec.ports[0].targetPort: Invalid value: "a.b": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)`},
	{"target port name too long", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("sixteencharacter") },
		`spec.ports[0].targetPort: Invalid value: "sixteencharacter": must be no more than 15 characters`},
	{"port name", func(s *corev1.Service) { s.Spec.Ports[0].Name = "HTTP" },
		`spec.ports[0].name: Invalid value: "HTTP": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`},
	{"second port unnamed", func(s *corev1.Service) { s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Port: 81}) },
		`spec.ports[1].name: Required value`},
	{"port name used twice", func(s *corev1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "http", Port: 81})
	},
		`spec.ports[1].name: Duplicate value: "http"`},
	{"port used twice", func(s *corev1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "b", Port: 80})
	},
		`spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80,"targetPort":0}`},
	{"protocol", func(s *corev1.Service) { s.Spec.Ports[0].Protocol = "tcp" },
		`spec.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"`},
	{"type", func(s *corev1.Service) { s.Spec.Type = "NodePort         // reachable from outside" },
		`spec.type: Unsupported value: "NodePort         // reachable from outside": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"`},
	{"nodePort on ClusterIP", func(s *corev1.Service) { s.Spec.Ports[0].NodePort = 30001 },
		"spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"},
	{"nodePort on ClusterIP, two", func(s *corev1.Service) {
		s.Spec.Ports = []corev1.ServicePort{{Name: "a", Port: 1, NodePort: 30001}, {Name: "b", Port: 2, NodePort: 30002}}
	},
		"[spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP', spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP']"},
	{"nodePort out of range", nodePort(80),
		`spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767`},
	{"nodePort used twice", func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports = []corev1.ServicePort{{Name: "a", Port: 1, NodePort: 30001}, {Name: "b", Port: 2, NodePort: 30001}}
	},
		`spec.ports[1].nodePort: Duplicate value: 30001`},
	{"headless NodePort", func(s *corev1.Service) { s.Spec.Type, s.Spec.ClusterIP = corev1.ServiceTypeNodePort, "None" },
		`spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services`},
	{"headless LoadBalancer", func(s *corev1.Service) { s.Spec.Type, s.Spec.ClusterIP = corev1.ServiceTypeLoadBalancer, "None" },
		`spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for LoadBalancer services`},
	{"clusterIP", clusterIP("10.96.0.300"),
		`spec.clusterIPs[0]: Invalid value: "10.96.0.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`},
	{"clusterIP outside", clusterIP("10.200.0.1"),
		`spec.clusterIPs: Invalid value: ["10.200.0.1"]: failed to allocate IP 10.200.0.1: the provided network does not match the current range`},
	{"clusterIP is the broadcast address", clusterIP("10.111.255.255"),
		`spec.clusterIPs: Invalid value: ["10.111.255.255"]: failed to allocate IP 10.111.255.255: the provided IP (10.111.255.255) is not in the valid range. The range of valid IPs is 10.96.0.0/12`},
	{"clusterIP of the API server", clusterIP("10.96.0.1"),
		`spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated`},
	{"clusterIP and clusterIPs", func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.96.0.20", []string{"10.96.0.21"} },
		"spec.clusterIPs: Invalid value: [\"10.96.0.21\"]: first value must match `clusterIP`"},
	{"clusterIPs alone", func(s *corev1.Service) { s.Spec.ClusterIPs = []string{"10.96.0.21"} },
		"spec.clusterIPs: Invalid value: [\"10.96.0.21\"]: must be empty when `clusterIP` is not specified"},
	{"sessionAffinity", func(s *corev1.Service) { s.Spec.SessionAffinity = "Cookie" },
		`spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"`},
	{"affinity timeout 0", affinity(0),
		`spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400`},
	{"affinity timeout over a day", affinity(86401),
		`spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400`},
	{"externalTrafficPolicy on ClusterIP", externalLocal,
		`spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services`},
	{"externalTrafficPolicy", func(s *corev1.Service) {
		s.Spec.Type, s.Spec.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, "local"
	},
		`spec.externalTrafficPolicy: Unsupported value: "local": supported values: "Cluster", "Local"`},
	{"internalTrafficPolicy", func(s *corev1.Service) {
		p := corev1.ServiceInternalTrafficPolicy("Node")
		s.Spec.InternalTrafficPolicy = &p
	},
		`spec.internalTrafficPolicy: Unsupported value: "Node": supported values: "Cluster", "Local"`},
	{"healthCheckNodePort", func(s *corev1.Service) { s.Spec.Type, s.Spec.HealthCheckNodePort = corev1.ServiceTypeNodePort, 30005 },
		"spec.healthCheckNodePort: Invalid value: 30005: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"},
	{"healthCheckNodePort with policy Cluster", func(s *corev1.Service) {
		s.Spec.Type, s.Spec.HealthCheckNodePort = corev1.ServiceTypeLoadBalancer, 30005
	},
		"spec.healthCheckNodePort: Invalid value: 30005: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"},
	{"healthCheckNodePort number", func(s *corev1.Service) {
		s.Spec.Type, s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = corev1.ServiceTypeLoadBalancer, "Local", 70000
	},
		`spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, inclusive`},
	{"nodePort number", nodePort(70000),
		`spec.ports[0].nodePort: Invalid value: 70000: provided port is not in the valid range. The range of valid ports is 30000-32767`},
	{"several errors in brackets", func(s *corev1.Service) {
		s.Spec.Ports[0].Port, s.Spec.Ports[0].Protocol, s.Spec.SessionAffinity = 0, "tcp", "X"
	},
		`[spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, spec.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP", spec.sessionAffinity: Unsupported value: "X": supported values: "ClientIP", "None"]`},
	{"appProtocol", func(s *corev1.Service) {
		p := "no spaces"
		s.Spec.Ports[0].AppProtocol = &p
	},
		`spec.ports[0].appProtocol: Invalid value: "no spaces": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`},
	{"ExternalName with a cluster IP", func(s *corev1.Service) {
		s.Spec.Type, s.Spec.ExternalName, s.Spec.ClusterIP, s.Spec.ClusterIPs = corev1.ServiceTypeExternalName, "example.com", "10.96.0.20", []string{"10.96.0.20"}
	},
		`spec.clusterIPs: Forbidden: may not be set for ExternalName services`},
	{"ExternalName not a name", func(s *corev1.Service) {
		s.Spec.Type, s.Spec.ExternalName, s.Spec.Ports = corev1.ServiceTypeExternalName, "http://example.com", nil
	},
		`spec.externalName: Invalid value: "http://example.com": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`},
	{"externalIP loopback", externalIP("127.0.0.1"),
		`spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`},
	{"externalIP link local", externalIP("169.254.1.1"),
		`spec.externalIPs[0]: Invalid value: "169.254.1.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)`},
	{"externalIP IPv6 loopback", externalIP("::1"),
		`spec.externalIPs[0]: Invalid value: "::1": may not be in the loopback range (127.0.0.0/8, ::1/128)`},
	{"externalIP link-local multicast", externalIP("224.0.0.5"),
		`spec.externalIPs[0]: Invalid value: "224.0.0.5": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)`},
	{"externalIP unspecified", externalIP("0.0.0.0"),
		`spec.externalIPs[0]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)`},
	{"externalIP a name", externalIP("example.com"),
		`spec.externalIPs[0]: Invalid value: "example.com": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`},
	{"ExternalName without a name", func(s *corev1.Service) { s.Spec.Type, s.Spec.Ports = corev1.ServiceTypeExternalName, nil },
		`spec.externalName: Required value`},
	{"source ranges on ClusterIP", func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} },
		"spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"},
	{"trafficDistribution", func(s *corev1.Service) {
		d := "Near"
		s.Spec.TrafficDistribution = &d
	},
		`spec.trafficDistribution: Unsupported value: "Near": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"`},
	{"selector", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "a b"} },
		`spec.selector: Invalid value: "a b": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`},
}

func affinity(seconds int32) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
}

func externalIP(ip string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.ExternalIPs = []string{ip} }
}

func TestServiceIsRefusedInKubernetesWords(t *testing.T) {
	for _, tt := range serviceErrors {
		t.Run(tt.name, func(t *testing.T) {
			s := service("web", tt.change)
			c := newCluster(t)
			err := c.AddService(s)
			want := `Service "` + s.Name + `" is invalid: ` + tt.want
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if len(c.Services()) != 0 || len(c.ips.used) != 1 || len(c.nodePorts.used) != 0 {
				t.Errorf("after the error %d services, %d addresses, %d ports are taken, want 0, 1, 0", len(c.Services()), len(c.ips.used), len(c.nodePorts.used))
			}
		})
	}
}

func TestServiceNamesUpTo1_35(t *testing.T) {
	c, err := NewCluster(Config{DNS1035Names: true})
	if err != nil {
		t.Fatal(err)
	}
	want := `Service "1web" is invalid: metadata.name: Invalid value: "1web": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`
	if err := c.AddService(service("1web")); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := newCluster(t).AddService(service("1web")); err != nil {
		t.Errorf("since 1.36: %v, want no error", err)
	}
}

func TestClashes(t *testing.T) {
	c := newCluster(t)
	addService(t, c, service("first", clusterIP("10.96.0.20"), nodePort(30001)))
	for _, tt := range []struct {
		s    *corev1.Service
		want string
	}{
		{service("first"), `services "first" already exists`},
		{service("web", clusterIP("10.96.0.20")), `Service "web" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.20"]: failed to allocate IP 10.96.0.20: provided IP is already allocated`},
		{service("web", clusterIP("10.96.0.21"), nodePort(30001)), `Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated`},
	} {
		if err := c.AddService(tt.s); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	addService(t, c, service("web", clusterIP("10.96.0.21"), nodePort(30002))) // the failed try gave 10.96.0.21 back
	if err := c.RemoveService("", "first"); err != nil {
		t.Fatal(err)
	}
	addService(t, c, service("second", clusterIP("10.96.0.20"), nodePort(30001))) // free again
	if err, want := c.RemoveService("", "first"), `services "first" not found`; err == nil || err.Error() != want {
		t.Errorf("removing twice: %v, want %s", err, want)
	}
}

func TestPodIsRefusedInKubernetesWords(t *testing.T) {
	ports := func(list ...corev1.ContainerPort) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Containers[0].Ports = list }
	}
	for _, tt := range []struct {
		name   string
		change func(*corev1.Pod)
		want   string
	}{
		{"no containers", func(p *corev1.Pod) { p.Spec.Containers = nil }, `spec.containers: Required value`},
		{"name", func(p *corev1.Pod) { p.Name = "A" }, `metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`},
		{"container name", func(p *corev1.Pod) { p.Spec.Containers[0].Name = "" }, `spec.containers[0].name: Required value`},
		{"two of a name", func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "c"}) }, `spec.containers[1].name: Duplicate value: "c"`},
		{"no containerPort", ports(corev1.ContainerPort{Name: "a"}), `spec.containers[0].ports[0].containerPort: Required value`},
		{"containerPort", ports(corev1.ContainerPort{ContainerPort: 65536}), `spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive`},
		{"port name", ports(corev1.ContainerPort{Name: "80", ContainerPort: 80}), `spec.containers[0].ports[0].name: Invalid value: "80": must contain at least one letter (a-z)`},
		{"two ports of a name", ports(corev1.ContainerPort{Name: "http", ContainerPort: 80}, corev1.ContainerPort{Name: "http", ContainerPort: 81}), `spec.containers[0].ports[1].name: Duplicate value: "http"`},
		{"protocol", ports(corev1.ContainerPort{ContainerPort: 80, Protocol: "http"}), `spec.containers[0].ports[0].protocol: Unsupported value: "http": supported values: "SCTP", "TCP", "UDP"`},
		{"hostPort", ports(corev1.ContainerPort{ContainerPort: 80, HostPort: 80}, corev1.ContainerPort{ContainerPort: 81, HostPort: 80}), `spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//80"`},
		{"podIP", func(p *corev1.Pod) { p.Status.PodIP = "10.244.1" }, `status.podIP: Invalid value: "10.244.1": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`},
	} {
		p := webPod("a", "10.244.1.2", "node1")
		tt.change(p)
		want := `Pod "` + p.Name + `" is invalid: ` + tt.want
		if err := newCluster(t).AddPod(p); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.name, err, want)
		}
	}
}

func TestUpdateKeepsWhatWasAllocated(t *testing.T) {
	c := newCluster(t)
	before := addService(t, c, service("web", nodePort(0)))
	if err := c.UpdateService(service("web", nodePort(0), func(s *corev1.Service) { s.Spec.Ports[0].Port = 81 })); err != nil {
		t.Fatal(err)
	}
	after := c.Service("", "web")
	if after.Spec.ClusterIP != before.Spec.ClusterIP || after.Spec.Ports[0].NodePort != before.Spec.Ports[0].NodePort || after.Spec.Ports[0].Port != 81 {
		t.Errorf("update: %s port %d nodePort %d, want %s port 81 nodePort %d", after.Spec.ClusterIP, after.Spec.Ports[0].Port, after.Spec.Ports[0].NodePort, before.Spec.ClusterIP, before.Spec.Ports[0].NodePort)
	}
	want := `Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.20"]: may not change once set`
	if err := c.UpdateService(service("web", clusterIP("10.96.0.20"))); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := c.UpdateService(service("web")); err != nil { // to ClusterIP: the node port is given back
		t.Fatal(err)
	}
	if len(c.nodePorts.used) != 0 {
		t.Errorf("node ports taken after the change to ClusterIP: %v, want none", c.nodePorts.used)
	}
	if err, want := c.UpdateService(service("none")), `services "none" not found`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
