package emu

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"slices"

	"github.com/podwire/podwire/kube"
)

// healthServer is the part of kube-proxy that answers load balancers on the
// healthCheckNodePorts of Services, on every address of its node.
type healthServer struct {
	checks  map[int32]kube.HealthCheck // by port, as of the last sync
	servers map[int32]*http.Server
	busy    bool // a goroutine is opening and closing ports
}

// syncHealth notes what the node has to answer, and has the ports opened and
// closed that this takes. The caller holds the lock.
func (n *Node) syncHealth() {
	h := &n.health
	h.checks = nil
	for _, c := range n.lab.cluster.HealthChecks(n.name) {
		if h.checks == nil {
			h.checks = make(map[int32]kube.HealthCheck)
		}
		h.checks[c.Port] = c
	}
	if !h.busy && !h.settled() {
		h.busy = true
		n.lab.work(n.openHealth)
	}
}

// settled reports whether the ports that are open are those that should be.
func (h *healthServer) settled() bool {
	for port := range h.checks {
		if h.servers[port] == nil {
			return false
		}
	}
	return len(h.servers) == len(h.checks)
}

// openHealth opens and closes ports until they are those that should be.
func (n *Node) openHealth() error {
	for {
		var closing []*http.Server
		var opening []int32
		n.lab.drv.Do(func() {
			closing, opening = n.health.pending()
			n.health.busy = len(closing)+len(opening) > 0 && !n.lab.closed
		})
		for _, s := range closing {
			s.Close()
		}
		if len(closing)+len(opening) == 0 {
			return nil
		}
		for _, port := range opening {
			if err := n.serveHealth(port); err != nil {
				return err
			}
		}
	}
}

// pending takes the servers that are to end off the list, and returns them and
// the ports that are to be opened. The caller holds the lock.
func (h *healthServer) pending() (closing []*http.Server, opening []int32) {
	for _, port := range slices.Sorted(maps.Keys(h.servers)) {
		if _, ok := h.checks[port]; !ok {
			closing = append(closing, h.servers[port])
			delete(h.servers, port)
		}
	}
	for _, port := range slices.Sorted(maps.Keys(h.checks)) {
		if h.servers[port] == nil {
			opening = append(opening, port)
		}
	}
	return closing, opening
}

// serveHealth answers on one port until its server is closed.
func (n *Node) serveHealth(port int32) error {
	ln, err := n.Listen("tcp", fmt.Sprintf(":%d", port))
	s := &http.Server{Handler: n.healthHandler(port), ErrorLog: log.New(io.Discard, "", 0)}
	var closed bool
	n.lab.drv.Do(func() {
		if closed = n.lab.closed; !closed && err == nil {
			if n.health.servers == nil {
				n.health.servers = make(map[int32]*http.Server)
			}
			n.health.servers[port] = s
		}
	})
	switch {
	case closed && err == nil:
		return ln.Close()
	case closed:
		return nil
	case err != nil:
		return fmt.Errorf("emu: %s: health check port %d: %w", n.name, port, err)
	}
	n.lab.serving.Go(func() error {
		if err := s.Serve(ln); err != http.ErrServerClosed {
			return unlessClosed(err)
		}
		return nil
	})
	return nil
}

// healthHandler answers with what the node knows about the port at the time.
func (n *Node) healthHandler(port int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var c kube.HealthCheck
		n.lab.drv.Do(func() { c = n.health.checks[port] })
		c.ServeHTTP(w, r)
	}
}
