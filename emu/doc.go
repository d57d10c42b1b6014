// Package emu is a Kubernetes network in one process: nodes, pods, machines
// outside, the design that joins the pods, and Services. Its sockets are
// net.Conn, net.Listener and http.Client over emulated wires.
//
//	lab, err := emu.New(emu.Config{Nodes: 2})
//	defer lab.Close()
//	web, err := lab.AddPod(emu.PodConfig{Name: "web", Node: "node2"})
//	client, err := lab.AddPod(emu.PodConfig{Name: "client", Node: "node1"})
//	ln, err := web.Listen("tcp", ":80")
//	conn, err := client.Dial("tcp", "web:80")
//
// By default time is real, and a [TAP] can join the kernel of this machine. In
// virtual time a lab is exact and repeatable:
// package emutest makes such a lab inside a Go test, package virtual inside a
// program, and says what exactly is exact.
package emu
