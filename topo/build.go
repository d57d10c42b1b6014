package topo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
)

// build makes the lab that the scenario describes, without playing a step.
func (sc *Scenario) build(cfg RunConfig) (*emu.Lab, error) {
	if cfg.MTU != 0 {
		sc = sc.withMTU(cfg.MTU)
	}
	u := sc.Underlay
	lab, err := emu.New(emu.Config{
		Seed: sc.seed(cfg), Design: cmp.Or(cfg.Design, sc.Cluster.Design.Value),
		PodCIDR: sc.Cluster.PodCIDR.Value, ServiceCIDR: sc.Cluster.ServiceCIDR.Value,
		Underlay: u.config(),
		Sysctls:  sc.Cluster.Sysctls,
		CPU:      sc.Cluster.CPU.config(),
		Settle:   cfg.Settle,

		IPVSScheduler: sc.Cluster.IPVSScheduler.Value, StrictARP: sc.Cluster.StrictARP.Value,
		Proxy: sc.Cluster.Proxy.Value, ProxySyncDelay: sc.Cluster.ProxySyncDelay.Value, LoadBalancers: sc.Cluster.LoadBalancers.Value,
		ConntrackRace: sc.Cluster.ConntrackRace.Value,
	})
	if err != nil {
		return nil, at(u.Pos, err)
	}
	if err := sc.populate(lab, cfg); err != nil {
		lab.Close()
		return nil, err
	}
	return lab, nil
}

// populate adds machines, starts the capture, then adds pods and objects, so
// that the capture shows what a pod says when it starts.
func (sc *Scenario) populate(lab *emu.Lab, cfg RunConfig) error {
	if err := sc.addMachines(lab, cfg); err != nil {
		return err
	}
	if cfg.OnBuild != nil {
		if err := cfg.OnBuild(lab); err != nil {
			return err
		}
	}
	for _, p := range sc.Pods {
		if _, err := lab.AddPodObject(p.object()); err != nil {
			return at(p.Name.Pos, err)
		}
	}
	if sc.Cluster.DNS.Value { // behind the pods, which keep the addresses that they have without it
		if err := lab.AddDNS(emu.DNSConfig{}); err != nil {
			return at(sc.Cluster.DNS.Pos, err)
		}
	}
	return sc.addObjects(lab)
}

// addObjects adds what the manifests hold besides pods. On hosts without
// Kubernetes there is nobody to act on them.
func (sc *Scenario) addObjects(lab *emu.Lab) error {
	if emu.Standalone(lab.Config().Design) {
		return nil
	}
	for _, o := range sc.Objects {
		var err error
		switch obj := o.Object.(type) {
		case *corev1.Namespace:
			err = lab.AddNamespace(obj)
		case *corev1.Service:
			_, err = lab.AddService(obj)
		case *discoveryv1.EndpointSlice:
			err = lab.SetEndpointSlice(obj)
		}
		if err != nil {
			return at(o.Pos, err)
		}
	}
	return nil
}

// A PlaceError is an error about a place in a file.
type PlaceError struct {
	Pos Pos
	Err error
}

// Error puts the place in front.
func (e *PlaceError) Error() string { return fmt.Sprintf("%s: %v", e.Pos, e.Err) }

// Unwrap returns the error without the place.
func (e *PlaceError) Unwrap() error { return e.Err }

// at says where in the files an error comes from.
func at(pos Pos, err error) error {
	if !pos.IsValid() {
		return err
	}
	return &PlaceError{pos, err}
}

func (sc *Scenario) seed(cfg RunConfig) uint64 {
	if cfg.Seed != nil {
		return *cfg.Seed
	}
	return sc.Seed.Value
}

// object is the port as Kubernetes knows it.
func (p ContainerPort) object() corev1.ContainerPort {
	o := corev1.ContainerPort{
		Name: p.Name, ContainerPort: int32(p.Number.Value), Protocol: corev1.Protocol(p.Protocol), HostPort: int32(p.HostPort.Value),
	}
	if p.HostIP.Value.IsValid() {
		o.HostIP = p.HostIP.Value.String()
	}
	return o
}

// object is the pod as Kubernetes knows it.
func (p *Pod) object() *corev1.Pod {
	o := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name.Value, Namespace: p.Namespace, Labels: p.Labels, Annotations: p.Annotations},
		Spec: corev1.PodSpec{
			NodeName: p.Node.Value, Hostname: p.Hostname, Subdomain: p.Subdomain, DNSPolicy: p.DNSPolicy, DNSConfig: p.DNSConfig,
		},
	}
	if p.NotReady {
		o.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	}
	if p.Terminating {
		o.DeletionTimestamp = &metav1.Time{}
	}
	for _, c := range p.Containers {
		oc := corev1.Container{Name: c.Name.Value, Image: "podwire"}
		for _, port := range c.Ports {
			oc.Ports = append(oc.Ports, port.object())
		}
		o.Spec.Containers = append(o.Spec.Containers, oc)
	}
	if len(o.Spec.Containers) == 0 {
		o.Spec.Containers = []corev1.Container{{Name: "main", Image: "podwire"}}
	}
	if len(p.Sysctls) > 0 {
		o.Spec.SecurityContext = &corev1.PodSecurityContext{}
		for _, name := range slices.Sorted(maps.Keys(p.Sysctls)) {
			o.Spec.SecurityContext.Sysctls = append(o.Spec.SecurityContext.Sysctls, corev1.Sysctl{Name: name, Value: p.Sysctls[name]})
		}
	}
	return o
}
