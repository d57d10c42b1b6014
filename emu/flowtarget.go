package emu

import (
	"io"
	"net"
	"slices"
)

// A receiver is the program at the receiving end of a flow. It opens a port of a
// machine, any if port is 0, and says which.
type receiver func(m *Machine, port int) (socket io.Closer, opened int, err error)

// attend starts the receiver. It starts again on each pod that comes in the place
// of the one it is in, as the program of a container does, until dismiss.
func (f *flow) attend(r receiver) error {
	socket, port, err := r(f.cfg.To, 0)
	if err != nil {
		return err
	}
	f.lab.drv.Do(func() {
		f.receiver, f.socket, f.port = r, socket, port
		f.lab.attended = append(f.lab.attended, f)
	})
	return nil
}

// dismiss ends the receiver. A socket that has ended with its pod is no error.
func (f *flow) dismiss() {
	var socket io.Closer
	f.lab.drv.Do(func() {
		f.lab.attended = slices.DeleteFunc(f.lab.attended, func(o *flow) bool { return o == f })
		socket = f.socket
	})
	socket.Close()
}

// attendAgain starts the receivers of flows to a pod that has come in the place of
// another. One whose port is taken there is not reached any more.
func (l *Lab) attendAgain(p *Pod) {
	var flows []*flow
	l.drv.Do(func() {
		for _, f := range l.attended {
			if f.cfg.To.name == p.name {
				flows = append(flows, f)
			}
		}
	})
	for _, f := range flows {
		socket, _, err := f.receiver(&p.Machine, f.port)
		if err != nil {
			continue
		}
		l.drv.Do(func() {
			if slices.Contains(l.attended, f) {
				f.socket, socket = socket, nil
			}
		})
		if socket != nil { // the flow has ended meanwhile
			socket.Close()
		}
	}
}

// lookup returns the address at which the flow's target is now: for each new
// connection, as a client does that connects by name.
func (f *flow) lookup(port string) (string, error) {
	to := f.cfg.To
	var m *Machine
	f.lab.drv.Do(func() { m = f.lab.machines[to.name] })
	if m == nil {
		return "", &net.DNSError{Err: "no pod of that name", Name: to.name, IsNotFound: true}
	}
	return net.JoinHostPort(m.addr.String(), port), nil
}
