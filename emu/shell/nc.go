package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

var ncCommand = Command{
	Name:    "nc",
	Usage:   "[-uvz] [-w SECONDS] HOST PORT[-PORT] | [-uv] [-w SECONDS] -l PORT",
	Summary: "open connections: -z only tries, -l waits for one; without -w it waits 30 s",
	run:     (*call).nc,
}

// netcat is one run of nc.
type netcat struct {
	*call
	network       string
	verbose, scan bool
	idle          time.Duration
}

func (c *call) nc() error {
	n := &netcat{call: c, network: "tcp"}
	var udp, listen bool
	var idle float64
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&udp, "udp", "u", false, "")
		f.BoolVarP(&n.verbose, "verbose", "v", false, "")
		f.BoolVarP(&n.scan, "zero", "z", false, "")
		f.BoolVarP(&listen, "listen", "l", false, "")
		f.BoolP("shutdown", "N", true, "") // the end of the input always ends the sending
		f.BoolP("numeric", "n", false, "")
		f.Float64VarP(&idle, "wait", "w", 30, "")
	})
	if !ok {
		return err
	}
	if !(idle > 0 && idle < 1e6) {
		return c.misused("-w takes seconds above 0")
	}
	n.idle = seconds(idle)
	if udp {
		n.network = "udp"
	}
	if listen {
		if len(args) == 0 || len(args) > 1 {
			return c.misused("found %d arguments, want the port to listen on", len(args))
		}
		port, ok := atoi(args[0])
		if !ok {
			return c.misused("port %q, want a number up to 65535", args[0])
		}
		return n.listen(port)
	}
	if len(args) != 2 {
		return c.misused("found %d arguments, want host and port", len(args))
	}
	return n.connect(args[0], args[1])
}

// connect tries each port of a range, or talks to one.
func (n *netcat) connect(host, ports string) error {
	first, last, isRange := strings.Cut(ports, "-")
	lo, ok1 := atoi(first)
	hi, ok2 := lo, true
	if isRange {
		hi, ok2 = atoi(last)
	}
	switch {
	case !ok1 || !ok2 || lo == 0 || hi < lo:
		return n.misused("port %q, want a number from 1 to 65535, or a range", ports)
	case isRange && !n.scan:
		return n.misused("a range of ports wants -z")
	}
	addrs, err := n.m.LookupContext(n.ctx, host)
	if err != nil {
		return n.fail(1, "getaddrinfo for host \"%s\" port %s: Name or service not known", host, first)
	}
	open := false
	for port := int(lo); port <= int(hi); port++ {
		if n.try(host, addrs[0], port) == nil {
			open = true
		}
		if n.ctx.Err() != nil {
			break
		}
	}
	if !open {
		return &ExitError{1}
	}
	return nil
}

// try opens one connection and, unless nc only scans, talks.
func (n *netcat) try(host string, to netip.Addr, port int) error {
	ctx, cancel := n.lab.WithTimeout(n.ctx, n.idle)
	defer cancel()
	conn, err := n.m.DialContext(ctx, n.network, netip.AddrPortFrom(to, uint16(port)).String())
	if err == nil && n.scan && n.network == "udp" {
		err = n.probeUDP(conn)
	}
	if err != nil {
		if n.verbose || !n.scan {
			fmt.Fprintf(n.Err, "nc: connect to %s (%v) port %d (%s) failed: %s\n", host, to, port, n.network, connectText(err))
		}
		return err
	}
	defer conn.Close()
	if n.verbose {
		fmt.Fprintf(n.Err, "Connection to %s (%v) %d port [%s/*] succeeded!\n", host, to, port, n.network)
	}
	if n.scan {
		return nil
	}
	return n.talk(conn)
}

// probeUDP sends a byte as nc -uz does and waits a moment for an error.
func (n *netcat) probeUDP(conn net.Conn) error {
	if _, err := io.WriteString(conn, "X"); err != nil {
		return err
	}
	conn.SetReadDeadline(n.lab.Deadline(time.Second))
	_, err := conn.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// connectText is the system's word for why a connection failed.
func connectText(err error) string {
	var t net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "No route to host"
	case errors.Is(err, syscall.ENETUNREACH):
		return "Network is unreachable"
	case errors.As(err, &t) && t.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "Operation timed out"
	}
	return rootCause(err).Error()
}

// talk sends the input, then prints what comes until the other side ends or is
// silent for too long.
func (n *netcat) talk(conn net.Conn) error {
	defer context.AfterFunc(n.ctx, func() { conn.Close() })()
	input, err := io.ReadAll(io.LimitReader(n.In, 64<<20))
	if err != nil {
		return err
	}
	if _, err := conn.Write(input); err != nil && len(input) > 0 {
		return n.fail(1, "write failed: %v", err)
	}
	if c, ok := conn.(interface{ CloseWrite() error }); ok && n.network == "tcp" {
		c.CloseWrite()
	}
	return n.receive(conn, nil)
}

// receive prints what comes; first has come already.
func (n *netcat) receive(conn net.Conn, first []byte) error {
	n.Out.Write(first)
	buf := make([]byte, 64<<10)
	for {
		conn.SetReadDeadline(n.lab.Deadline(n.idle))
		got, err := conn.Read(buf)
		n.Out.Write(buf[:got])
		switch {
		case err == nil:
		case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return nil
		default:
			return n.fail(1, "read failed: %v", err)
		}
	}
}

// listen waits for one connection, or one datagram, and prints what it brings.
func (n *netcat) listen(port uint16) error {
	if n.network == "udp" {
		return n.listenUDP(port)
	}
	ln, err := n.m.Listen("tcp", ":"+strconv.Itoa(int(port)))
	if err != nil {
		return n.fail(1, "%v", rootCause(err))
	}
	defer ln.Close()
	ctx, cancel := n.lab.WithTimeout(n.ctx, n.idle)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	conn, err := ln.Accept()
	stop()
	if err != nil {
		return &ExitError{1} // nobody came
	}
	defer conn.Close()
	if n.verbose {
		fmt.Fprintf(n.Err, "Connection received on %v\n", conn.RemoteAddr())
	}
	return n.talk(conn)
}

func (n *netcat) listenUDP(port uint16) error {
	pc, err := n.m.ListenPacket("udp", ":"+strconv.Itoa(int(port)))
	if err != nil {
		return n.fail(1, "%v", rootCause(err))
	}
	defer pc.Close()
	defer context.AfterFunc(n.ctx, func() { pc.Close() })()
	pc.SetReadDeadline(n.lab.Deadline(n.idle))
	buf := make([]byte, 64<<10)
	got, from, err := pc.ReadFrom(buf)
	if err != nil {
		return &ExitError{1}
	}
	if n.verbose {
		fmt.Fprintf(n.Err, "Connection received on %v\n", from)
	}
	n.Out.Write(buf[:got])
	return nil
}
