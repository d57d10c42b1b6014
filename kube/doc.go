// Package kube is what Kubernetes adds to a network: the objects a user writes
// (Pods, Services, EndpointSlices, Nodes), the defaults, checks and allocations
// the API server applies to them, and the iptables rules kube-proxy derives
// from them for each node.
//
//	c, err := kube.NewCluster(kube.Config{})       // 10.244.0.0/16, 10.96.0.0/12, 30000-32767
//	err = c.AddPod(pod)                            // status.podIP says where it is
//	err = c.AddService(svc)                        // clusterIP and nodePorts are chosen here
//	p, err := kube.NewProxy(kube.ProxyConfig{NodeName: "node1", ClusterCIDR: c.Config().PodCIDR})
//	text := p.IPTables(c)                          // load with iptables-restore
//	text = p.Sync(c)                               // after a change: iptables-restore --noflush
//
// The package knows text and addresses only. It moves no packet: the rules are
// handed to a packet filter, and everything kube-proxy is known for (random
// choice of an endpoint, hairpin masquerading, dropped node ports) then follows
// from the rules, as it does on Linux.
//
// Behaviour and wording follow Kubernetes 1.36. Errors about an object are
// *errors.StatusError of k8s.io/apimachinery/pkg/api/errors and carry the text
// the API server would return.
//
// Nothing here is safe for concurrent use, starts a goroutine or reads a clock.
// Results depend on the calls made and on Config.Rand alone: every list is in
// the order of namespace and name.
package kube
