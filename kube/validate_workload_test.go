package kube

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// deployment has three pods with a port 80.
func deployment(change func(*appsv1.Deployment)) *appsv1.Deployment {
	app, three := map[string]string{"app": "web"}, int32(3)
	d := &appsv1.Deployment{ObjectMeta: meta("web")}
	d.Spec.Replicas, d.Spec.Selector = &three, &metav1.LabelSelector{MatchLabels: app}
	d.Spec.Template.Labels = app
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{ContainerPort: 80}}}}
	change(d)
	return d
}

func TestWorkloadIsRefusedInKubernetesWords(t *testing.T) {
	minus := int32(-1)
	for _, tt := range []struct {
		name   string
		change func(*appsv1.Deployment)
		want   string
	}{
		{"nothing wrong", func(*appsv1.Deployment) {}, `[]`},
		{"replicas", func(d *appsv1.Deployment) { d.Spec.Replicas = &minus }, `[spec.replicas: Invalid value: -1: must be greater than or equal to 0]`},
		{"no selector", func(d *appsv1.Deployment) { d.Spec.Selector = nil }, `[spec.selector: Required value]`},
		{"another selector", func(d *appsv1.Deployment) { d.Spec.Template.Labels = map[string]string{"app": "wbe"} },
			"[spec.template.metadata.labels: Invalid value: {\"app\":\"wbe\"}: `selector` does not match template `labels`]"},
		{"no containers", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers = nil }, `[spec.template.spec.containers: Required value]`},
		{"containerPort", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort = 70000 },
			`[spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive]`},
		{"subdomain", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Subdomain = "A" },
			`[spec.template.spec.subdomain: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')]`},
	} {
		wantErrors(t, tt.name, ValidateDeployment(deployment(tt.change)), tt.want)
	}
	wantErrors(t, "empty selector of a StatefulSet", ValidateStatefulSet(&appsv1.StatefulSet{
		ObjectMeta: meta("db"), Spec: appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{}, Template: deployment(func(*appsv1.Deployment) {}).Spec.Template},
	}), `[spec.selector: Invalid value: {}: empty selector is invalid for statefulset]`)
	wantErrors(t, "DaemonSet", ValidateDaemonSet(&appsv1.DaemonSet{ObjectMeta: meta("web")}), `[spec.selector: Required value spec.template.spec.containers: Required value]`)
	wantErrors(t, "ReplicaSet", ValidateReplicaSet(&appsv1.ReplicaSet{ObjectMeta: meta("web")}), `[spec.selector: Required value spec.template.spec.containers: Required value]`)
}

func wantErrors(t *testing.T, name string, errs field.ErrorList, want string) {
	t.Helper()
	text := "["
	for i, e := range errs {
		if i > 0 {
			text += " "
		}
		text += e.Error()
	}
	if text += "]"; text != want {
		t.Errorf("%s:\ngot  %s\nwant %s", name, text, want)
	}
}

func TestOtherObjectsAreRefusedInKubernetesWords(t *testing.T) {
	wantErrors(t, "Namespace", ValidateNamespace(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a.b"}}),
		`[metadata.name: Invalid value: "a.b": must not contain dots]`)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
	node.Spec.PodCIDR, node.Spec.PodCIDRs = "10.244.1.0/24", []string{"10.244.2.0/24"}
	wantErrors(t, "Node", ValidateNode(node), "[spec.podCIDRs[0]: Invalid value: [\"10.244.2.0/24\"]: must match `podCIDR`]")

	port := int32(0)
	wantErrors(t, "EndpointSlice", ValidateEndpointSlice(&discoveryv1.EndpointSlice{
		ObjectMeta: meta("db"), AddressType: "IPv5",
		Endpoints: []discoveryv1.Endpoint{{}, {Addresses: []string{"127.0.0.1"}}},
		Ports:     []discoveryv1.EndpointPort{{Port: &port}},
	}), `[addressType: Unsupported value: "IPv5": supported values: "FQDN", "IPv4", "IPv6" endpoints[0].addresses: Required value: must contain at least 1 address endpoints[1].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128) ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive]`)
}
