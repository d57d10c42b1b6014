package emu

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The Service under which pods find the API server, as the API server itself
// writes it (kubernetesservice.Controller of pkg/controlplane).
const (
	apiServerName = "kubernetes" // in namespace default
	apiServerPort = 6443         // of kubeadm

	labelControlPlane = "node-role.kubernetes.io/control-plane"
)

// addAPIServer adds the Service default/kubernetes, unless somebody has.
func (l *Lab) addAPIServer() error {
	return l.change(func() error {
		if l.cluster.Service(metav1.NamespaceDefault, apiServerName) != nil {
			return nil
		}
		if err := l.cluster.AddService(apiServerService(addTo(l.cfg.ServiceCIDR.Masked().Addr(), 1))); err != nil {
			return err
		}
		l.ownAPIServer = true
		return l.cluster.SetEndpointSlice(apiServerSlice(l.controlPlane()))
	})
}

// storeService adds a Service. Somebody's own default/kubernetes changes the lab's,
// as it would change that of a cluster.
func (l *Lab) storeService(s *corev1.Service) error {
	if !l.ownAPIServer || s.Name != apiServerName || s.Namespace != metav1.NamespaceDefault && s.Namespace != "" {
		return l.cluster.AddService(s)
	}
	if err := l.cluster.UpdateService(s); err != nil {
		return err
	}
	l.ownAPIServer = false
	if len(s.Spec.Selector) > 0 { // pods are the endpoints, and they alone
		return l.cluster.RemoveEndpointSlice(metav1.NamespaceDefault, apiServerName)
	}
	return nil
}

// controlPlane returns the addresses of the nodes that are labelled as the
// control plane, else that of the first node.
func (l *Lab) controlPlane() []netip.Addr {
	var list []netip.Addr
	for _, n := range l.nodes {
		if n.controlPlane {
			list = append(list, n.addr)
		}
	}
	if list == nil && len(l.nodes) > 0 {
		list = append(list, l.nodes[0].addr)
	}
	return list
}

func apiServerService(address netip.Addr) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: apiServerName, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"},
		},
		Spec: corev1.ServiceSpec{
			ClusterIP: address.String(),
			Ports:     []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(apiServerPort)}},
		},
	}
}

func apiServerSlice(servers []netip.Addr) *discoveryv1.EndpointSlice {
	name, port, ready := "https", int32(apiServerPort), true
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: apiServerName, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{discoveryv1.LabelServiceName: apiServerName},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
	for _, a := range servers {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{a.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		})
	}
	return s
}
