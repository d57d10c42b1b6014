package emu

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path"
	"syscall"

	corev1 "k8s.io/api/core/v1"
)

// startWorkloads answers every declared port of the pod.
func (p *Pod) startWorkloads() error {
	seen := make(map[string]string) // by port, the container that has it
	for _, c := range p.spec.Spec.Containers {
		for _, port := range c.Ports {
			if port.Protocol == "" {
				port.Protocol = corev1.ProtocolTCP
			}
			key := fmt.Sprintf("%d/%s", port.ContainerPort, port.Protocol)
			if seen[key] == c.Name && port.HostPort != 0 {
				continue // one socket, published twice
			}
			if _, taken := seen[key]; taken {
				return fmt.Errorf("emu: pod %s: container %s: port %s is already taken in this pod", p.name, c.Name, key)
			}
			seen[key] = c.Name
			if err := p.serve(c.Name, port); err != nil {
				return fmt.Errorf("emu: pod %s: container %s: %w", p.name, c.Name, err)
			}
		}
	}
	return nil
}

// serve starts the workload of one port.
func (m *Machine) serve(container string, port corev1.ContainerPort) error {
	address := fmt.Sprintf(":%d", port.ContainerPort)
	switch port.Protocol {
	case corev1.ProtocolTCP, "":
		ln, err := m.Listen("tcp", address)
		if err != nil {
			return err
		}
		m.lab.serving.Go(func() error { return unlessClosed(m.httpServer(container).Serve(watchedListener{ln, m})) })
	case corev1.ProtocolUDP:
		pc, err := m.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		m.lab.serve(func() error { return unlessClosed(m.echoUDP(pc)) })
	default:
		return fmt.Errorf("protocol %s is not emulated", port.Protocol)
	}
	return nil
}

// httpServer answers in the manner of Kubernetes' own test image agnhost
// netexec: / and /hostname name the machine, /clientip tells who is asking, /echo
// returns what is sent, /container names the container.
func (m *Machine) httpServer(container string) *http.Server {
	mux := http.NewServeMux()
	text := func(format string, args ...any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, format, args...) }
	}
	mux.HandleFunc("/{$}", text("%s\n", m.bareName()))
	mux.HandleFunc("/hostname", text("%s", m.bareName()))
	mux.HandleFunc("/container", text("%s", container))
	mux.HandleFunc("/healthz", text("ok"))
	mux.HandleFunc("/clientip", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if msg := r.URL.Query().Get("msg"); msg != "" {
			io.WriteString(w, msg)
			return
		}
		http.NewResponseController(w).EnableFullDuplex() // a reply may begin before the request has ended
		io.Copy(w, r.Body)
	})
	return &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
}

// bareName is the machine's name without a namespace.
func (m *Machine) bareName() string { return path.Base(m.name) }

// Serve answers on a port as pods do on those that they declare: TCP by an HTTP
// server, UDP by an echo.
func (m *Machine) Serve(port corev1.ContainerPort) error { return m.serve("", port) }

// unlessClosed drops the error of a workload that has ended with its pod.
func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// echoUDP sends every datagram back until the socket is closed.
func (m *Machine) echoUDP(pc net.PacketConn) error {
	buf := make([]byte, 65535)
	for {
		n, from, err := pc.ReadFrom(buf)
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // an earlier answer found nobody there
		}
		if err != nil {
			return err
		}
		m.sawPeer("udp", from)
		if _, err := pc.WriteTo(buf[:n], from); err != nil {
			continue // the asker is gone or unreachable; the next one may not be
		}
	}
}
