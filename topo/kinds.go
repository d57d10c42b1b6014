package topo

import (
	"reflect"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
)

// kind is a kind of Kubernetes object that this package decodes.
type kind struct {
	apiVersion string
	name       string
	typ        reflect.Type
}

var kinds = []kind{
	{"v1", "Pod", reflect.TypeFor[corev1.Pod]()},
	{"v1", "Service", reflect.TypeFor[corev1.Service]()},
	{"v1", "Namespace", reflect.TypeFor[corev1.Namespace]()},
	{"v1", "Node", reflect.TypeFor[corev1.Node]()},
	{"apps/v1", "Deployment", reflect.TypeFor[appsv1.Deployment]()},
	{"apps/v1", "ReplicaSet", reflect.TypeFor[appsv1.ReplicaSet]()},
	{"apps/v1", "StatefulSet", reflect.TypeFor[appsv1.StatefulSet]()},
	{"apps/v1", "DaemonSet", reflect.TypeFor[appsv1.DaemonSet]()},
	{"discovery.k8s.io/v1", "EndpointSlice", reflect.TypeFor[discoveryv1.EndpointSlice]()},
	{"networking.k8s.io/v1", "Ingress", reflect.TypeFor[networkingv1.Ingress]()},
	{"networking.k8s.io/v1", "NetworkPolicy", reflect.TypeFor[networkingv1.NetworkPolicy]()},
}

// notEmulated are kinds whose mistakes are explained, but which change no
// packet yet, and what that means.
var notEmulated = map[string]string{
	"Ingress":       "no controller serves it: its host names do not resolve",
	"NetworkPolicy": "it isolates no pod: everything stays allowed",
}

// removedKind is a version of a kind that Kubernetes no longer serves. typ is
// its old shape, or nil where that equals today's.
type removedKind struct {
	apiVersion, name, removedIn string
	typ                         reflect.Type
}

// removedKinds follows the Kubernetes "Deprecated API Migration Guide".
var removedKinds = []removedKind{
	{"extensions/v1beta1", "Ingress", "1.22", reflect.TypeFor[extensionsv1beta1.Ingress]()},
	{"networking.k8s.io/v1beta1", "Ingress", "1.22", reflect.TypeFor[extensionsv1beta1.Ingress]()},
	{"extensions/v1beta1", "Deployment", "1.16", nil},
	{"apps/v1beta1", "Deployment", "1.16", nil},
	{"apps/v1beta2", "Deployment", "1.16", nil},
	{"extensions/v1beta1", "ReplicaSet", "1.16", nil},
	{"apps/v1beta2", "ReplicaSet", "1.16", nil},
	{"apps/v1beta1", "StatefulSet", "1.16", nil},
	{"apps/v1beta2", "StatefulSet", "1.16", nil},
	{"extensions/v1beta1", "DaemonSet", "1.16", nil},
	{"apps/v1beta2", "DaemonSet", "1.16", nil},
	{"extensions/v1beta1", "NetworkPolicy", "1.16", nil},
	{"discovery.k8s.io/v1beta1", "EndpointSlice", "1.25", nil},
}

// otherKinds are kinds that Kubernetes has and podwire has no use for: nothing
// in them changes a packet.
var otherKinds = []string{
	"ClusterRole", "ClusterRoleBinding", "ConfigMap", "CronJob", "CustomResourceDefinition", "Endpoints",
	"HorizontalPodAutoscaler", "IngressClass", "Job", "LimitRange", "PersistentVolume", "PersistentVolumeClaim",
	"PodDisruptionBudget", "ReplicationController", "ResourceQuota", "Role", "RoleBinding", "Secret",
	"ServiceAccount", "StorageClass",
}

func kindByName(name string) *kind {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

func removedByName(apiVersion, name string) *removedKind {
	i := slices.IndexFunc(removedKinds, func(k removedKind) bool { return k.apiVersion == apiVersion && k.name == name })
	if i < 0 {
		return nil
	}
	return &removedKinds[i]
}

func kindNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}
