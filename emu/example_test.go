package emu_test

import (
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/emu"
)

// A client pod on one node asks a web server pod on another, in real time.
func Example() {
	lab, err := emu.New(emu.Config{Nodes: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lab.Close()
	web := emu.PodConfig{Name: "web", Node: "node2", Ports: []corev1.ContainerPort{{ContainerPort: 80}}}
	if _, err := lab.AddPod(web); err != nil {
		fmt.Println(err)
		return
	}
	client, err := lab.AddPod(emu.PodConfig{Name: "client", Node: "node1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.HTTPClient().Get("http://web/clientip")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s %.10s\n", resp.Status, body)
	// Output: 200 OK 10.244.1.2
}
