package emu_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// Scenarios with what Kubernetes adds: Services and names.

var oracleServices = map[string]oracleScenario{
	"Services": {
		cable: link.WireConfig{Latency: time.Millisecond, Loss: 0.005},
		over: []emu.Config{
			{Design: "flannel-vxlan", Proxy: emu.ProxyIPTables, ProxySyncDelay: 100 * time.Millisecond},
			{Design: "flannel-vxlan", Proxy: emu.ProxyIPVS},
			{Design: "calico-vxlan", Proxy: emu.ProxyNFTables},
		},
		events: 700,
		run:    oracleService,
	},
	"names": {
		cable:  link.WireConfig{Latency: time.Millisecond, Loss: 0.02},
		over:   []emu.Config{{Design: "flannel-vxlan", DNS: true}, {Design: "calico-vxlan", DNS: true, ConntrackRace: "drop", VethLatency: 5 * time.Microsecond}},
		events: 300,
		run:    oracleNames,
	},
	"published ports": {
		cable:  link.WireConfig{Latency: time.Millisecond, Loss: 0.01},
		over:   oracleDesigns("docker-bridge"),
		events: 100,
		run:    oraclePublished,
	},
}

// oracleService asks two endpoints by way of ClusterIP and NodePort, while one of
// them comes and goes.
func oracleService(lab *emu.Lab, a, b *emu.Pod) error {
	port := corev1.ContainerPort{ContainerPort: 53, Protocol: corev1.ProtocolUDP}
	c, err := lab.AddPod(emu.PodConfig{Name: "c", Node: "node1", Labels: map[string]string{"app": "sink"}, Ports: []corev1.ContainerPort{port}})
	if err != nil {
		return err
	}
	laptop, err := lab.AddHost(emu.HostConfig{Name: "laptop"})
	if err != nil {
		return err
	}
	for _, p := range []*emu.Pod{b, c} {
		if err := oracleWeb(lab, p, ":80"); err != nil {
			return err
		}
	}
	if _, err := lab.AddService(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.77", Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "sink"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, NodePort: 30080}, {Name: "echo", Port: 53, NodePort: 30053, Protocol: corev1.ProtocolUDP}},
		},
	}); err != nil {
		return err
	}
	faults := lab.Driver().NewGroup()
	var failed error
	faults.Go(func() {
		lab.Sleep(500 * time.Millisecond)
		failed = lab.SetEndpoint(b, false)
		lab.Sleep(500 * time.Millisecond)
		failed = errors.Join(failed, lab.SetEndpoint(b, true))
		lab.Sleep(500 * time.Millisecond)
		failed = errors.Join(failed, lab.Terminate(c, 200*time.Millisecond))
	})
	echoes := 0
	faults.Go(func() {
		for range 100 {
			lab.Sleep(20 * time.Millisecond)
			if oracleEcho(lab, &a.Machine, "10.96.0.77:53") == nil {
				echoes++
			}
		}
	})
	get := func(from *emu.Machine, host string) emu.FlowConfig {
		return emu.FlowConfig{Kind: emu.HTTPFlow, From: from, URL: "http://" + host + "/", For: 2 * time.Second, Interval: 40 * time.Millisecond}
	}
	err = oracleRunFlows(lab, get(&a.Machine, "10.96.0.77"), get(&c.Machine, "10.96.0.77"), get(&laptop.Machine, "192.168.56.11:30080"))
	faults.Wait()
	if echoes == 0 {
		err = errors.Join(err, errors.New("nothing came back by UDP"))
	}
	return errors.Join(err, failed)
}

// oracleWeb answers GETs. Package net/http would answer them in goroutines of its
// own.
func oracleWeb(lab *emu.Lab, p *emu.Pod, address string) error {
	ln, err := p.Listen("tcp", address)
	if err != nil {
		return err
	}
	serve := func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			body := strings.Repeat(p.Name(), 500)
			(&http.Response{StatusCode: 200, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}).Write(c)
		}
	}
	lab.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			lab.Go(func() { serve(c) })
		}
	})
	return nil
}

// oracleEcho sends a datagram and waits for it.
func oracleEcho(lab *emu.Lab, from *emu.Machine, address string) error {
	c, err := from.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(lab.Deadline(100 * time.Millisecond))
	buf := make([]byte, 100)
	if _, err = c.Write(buf[:30]); err == nil {
		_, err = c.Read(buf)
	}
	return err
}

// oracleNames looks names up in several pods at once, some of which nobody knows.
func oracleNames(lab *emu.Lab, a, b *emu.Pod) error {
	musl, err := lab.AddPodObject(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "musl", Annotations: map[string]string{emu.AnnotationLibc: "musl"}},
		Spec:       corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "main"}}},
	})
	if err != nil {
		return err
	}
	found := make([]int, 3)
	asking := lab.Driver().NewGroup()
	for i, p := range []*emu.Pod{a, b, musl} {
		asking.Go(func() {
			for range 5 {
				for _, name := range []string{"kube-dns.kube-system", "node1", "nobody.example.com"} {
					if addr, err := p.Lookup(name); err == nil && addr.IsValid() {
						found[i]++
					}
				}
				lab.Sleep(10 * time.Millisecond)
			}
		})
	}
	asking.Wait()
	for i, n := range found {
		if n == 0 {
			err = errors.Join(err, fmt.Errorf("resolver %d found nothing", i))
		}
	}
	return err
}

// oraclePublished reaches a container by way of docker-proxy and past it.
func oraclePublished(lab *emu.Lab, a, _ *emu.Pod) error {
	published := corev1.ContainerPort{HostPort: 8053, ContainerPort: 53, Protocol: corev1.ProtocolUDP}
	if _, err := lab.AddPod(emu.PodConfig{Name: "c", Node: "node2", Ports: []corev1.ContainerPort{published}}); err != nil {
		return err
	}
	node := lab.Node("node2")
	ways := map[*emu.Machine]string{&a.Machine: node.Addr().String() + ":8053", &node.Machine: "127.0.0.1:8053"}
	asking := lab.Driver().NewGroup()
	var failed error
	for _, m := range []*emu.Machine{&a.Machine, &node.Machine} {
		asking.Go(func() {
			came := 0
			for range 50 {
				lab.Sleep(10 * time.Millisecond)
				if oracleEcho(lab, m, ways[m]) == nil {
					came++
				}
			}
			if came < 40 {
				failed = errors.Join(failed, fmt.Errorf("%d of 50 echoes for %s", came, m.Name()))
			}
		})
	}
	asking.Wait()
	return failed
}
