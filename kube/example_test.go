package kube_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/podwire/podwire/kube"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func Example() {
	c, err := kube.NewCluster(kube.Config{})
	if err != nil {
		log.Fatal(err)
	}
	err = c.AddPod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "web"}}},
		Status:     corev1.PodStatus{PodIP: "10.244.1.2"},
	})
	if err != nil {
		log.Fatal(err)
	}
	err = c.AddService(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.101",
			Selector:  map[string]string{"app": "web"},
			Ports:     []corev1.ServicePort{{Port: 80}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	p, err := kube.NewProxy(kube.ProxyConfig{NodeName: "node1", ClusterCIDR: c.Config().PodCIDR})
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(p.IPTables(c)) {
		if strings.Contains(line, "DNAT --to-destination") {
			fmt.Print(line)
		}
	}
	// Output:
	// -A KUBE-SEP-MQ4W7Q2CV67URU6Q -m comment --comment default/web -m tcp -p tcp -j DNAT --to-destination 10.244.1.2:80
}

// A manifest the API server would refuse is refused with its words.
func ExampleValidateService() {
	errs := kube.ValidateService(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Type:  "NodePort // reachable from outside",
			Ports: []corev1.ServicePort{{Port: 80}, {Port: 81}},
		},
	})
	for _, err := range errs {
		fmt.Println(err)
	}
	// Output:
	// spec.ports[0].name: Required value
	// spec.ports[1].name: Required value
	// spec.type: Unsupported value: "NodePort // reachable from outside": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
}
