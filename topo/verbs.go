package topo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/podwire/podwire/stack"
)

// icmpError is an ICMP error in answer to a ping, as an error.
type icmpError struct{ reply stack.PingReply }

func (e icmpError) Error() string { return e.reply.Err().Error() }

// errorWords says which errors each of StepErrors stands for.
var errorWords = []struct {
	word string
	is   []func(error) bool
}{
	{"refused", []func(error) bool{isErrno(syscall.ECONNREFUSED), isICMP(3, 3)}},
	{"reset", []func(error) bool{isErrno(syscall.ECONNRESET), isErrno(syscall.EPIPE)}},
	{"prohibited", []func(error) bool{isICMP(3, 13), isICMP(3, 9), isICMP(3, 10)}},
	{"too-big", []func(error) bool{isErrno(syscall.EMSGSIZE), isICMP(3, 4)}},
	{"ttl-exceeded", []func(error) bool{isICMP(11, 0)}},
	{"unreachable", []func(error) bool{isErrno(syscall.EHOSTUNREACH), isErrno(syscall.ENETUNREACH), isICMP(3, 0), isICMP(3, 1), isICMP(3, 2)}},
	{"unknown-name", []func(error) bool{isNotFound}},
	{"timeout", []func(error) bool{isTimeout, isErrno(syscall.ETIMEDOUT)}},
}

func isErrno(n syscall.Errno) func(error) bool {
	return func(err error) bool { return errors.Is(err, n) }
}

func isICMP(typ, code byte) func(error) bool {
	return func(err error) bool {
		var e icmpError
		return errors.As(err, &e) && e.reply.Type == typ && e.reply.Code == code
	}
}

func isNotFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

func isTimeout(err error) bool {
	var e interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}

// ping plays a run of ping. Its duration is the last round trip; a run of
// several is judged as a whole by loss.
func (p *player) ping(v *Ping) {
	p.peer = "icmp"
	cfg := stack.PingConfig{Size: v.Size.Value, DontFragment: v.DF.IsSet() && v.DF.Value, MayFragment: !v.DF.Value}
	if cfg.Size == 0 {
		cfg.Size = -1
	}
	to, err := p.machine(v.From).Lookup(p.address(v.To))
	if err != nil {
		p.err = err
		return
	}
	c, err := p.machine(v.From).Stack().OpenPing(cfg)
	if err != nil {
		p.err = err
		return
	}
	defer c.Close()
	got := 0
	var last stack.PingReply
	for i := range v.Count.Value {
		if i > 0 {
			p.lab.Sleep(v.Interval.Value)
		}
		timeout := stepTimeout
		if v.Count.Value > 1 || p.step.Expect.Loss.IsSet() {
			timeout = 10 * time.Second
		}
		r, err := c.Ping(to, uint16(i+1), timeout)
		if err == nil && r.Err() != nil {
			err = icmpError{r}
		}
		if err != nil {
			p.err = err
			continue
		}
		got++
		last = r
		p.result.Took, p.timed = r.RTT, true
	}
	p.pinged(v, got, last)
}

func (p *player) pinged(v *Ping, got int, last stack.PingReply) {
	e := p.step.Expect
	loss := float64(v.Count.Value-got) / float64(v.Count.Value)
	if got == 0 && p.err != nil {
		p.result.Outcome = fmt.Sprintf("none of %d answered: %s", v.Count.Value, errorWord(p.err))
	}
	if got > 0 {
		p.result.Outcome = fmt.Sprintf("%d bytes from %v: ttl=%d time=%v", v.Size.Value+8, last.From, last.TTL, last.RTT)
		if v.Count.Value > 1 {
			p.result.Outcome = fmt.Sprintf("%d of %d answered, last %s", got, v.Count.Value, p.result.Outcome)
		}
		if !e.Error.IsSet() {
			p.err = nil // some were answered: loss says how many
		}
	}
	if e.Loss.IsSet() {
		same := math.Abs(loss-e.Loss.Value) < 1e-12 // a share that was written with all its digits
		p.result.check("loss", percent(loss), percent(e.Loss.Value), same)
		if same && !e.Error.IsSet() {
			p.err = nil
		}
	} else if got < v.Count.Value && p.err == nil {
		p.result.check("loss", percent(loss), "0%", false)
	}
	if e.TTL.IsSet() {
		p.result.check("ttl", strconv.Itoa(int(last.TTL)), strconv.Itoa(e.TTL.Value), int(last.TTL) == e.TTL.Value)
	}
}

func percent(f float64) string { return strconv.FormatFloat(100*f, 'f', -1, 64) + "%" }

// http plays one request over a connection of its own.
func (p *player) http(v *HTTP) {
	p.peer = "tcp"
	ctx, cancel := p.lab.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, v.Method.Value, v.URL.Value, strings.NewReader(v.Body.Value))
	if err != nil {
		p.err = err
		return
	}
	for k, values := range v.Header {
		req.Header[k] = values
		if k == "Host" {
			req.Host = values[0]
		}
	}
	m := p.machine(v.From)
	to := net.JoinHostPort(p.address(v.Host), strconv.Itoa(v.Host.Port))
	var conn net.Conn
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := m.DialContext(ctx, network, to)
		if err == nil {
			conn = c
		}
		return c, err
	}}
	start := p.lab.Now()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		p.err = err
		p.result.Took, p.timed = p.lab.Now()-start, true
		return
	}
	defer resp.Body.Close()
	p.flow("tcp", conn)
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	p.result.Took, p.timed = p.lab.Now()-start, true
	p.err = err
	p.result.Outcome = fmt.Sprintf("%s, %s: %q", resp.Status, plural(len(body), "byte"), shorten(string(body), 40))
	e := p.step.Expect
	if e.Status.IsSet() {
		p.result.check("status", strconv.Itoa(resp.StatusCode), strconv.Itoa(e.Status.Value), resp.StatusCode == e.Status.Value)
	}
	p.checkText(string(body))
}

// checkText compares what came back with what was expected of it.
func (p *player) checkText(got string) {
	e := p.step.Expect
	if e.Body.IsSet() {
		p.result.check("body", strconv.Quote(shorten(got, 60)), strconv.Quote(e.Body.Value), strings.TrimSpace(got) == strings.TrimSpace(e.Body.Value))
	}
	if e.Contains.IsSet() {
		p.result.check("contains", strconv.Quote(shorten(got, 60)), strconv.Quote(e.Contains.Value), strings.Contains(got, e.Contains.Value))
	}
}

// exchange plays connections or datagrams, one after another.
func (p *player) exchange(network string, v *Exchange) {
	p.peer = network
	to := net.JoinHostPort(p.address(v.To), strconv.Itoa(v.To.Port))
	var answer string
	for range v.Count.Value {
		if answer, p.err = p.once(network, to, v); p.err != nil {
			return
		}
	}
	if v.Expect.IsSet() {
		p.result.check("answer", strconv.Quote(shorten(answer, 60)), strconv.Quote(v.Expect.Value), strings.Contains(answer, v.Expect.Value))
	}
	p.checkText(answer)
}

// once connects, sends, and reads one answer if there is something to send.
func (p *player) once(network, to string, v *Exchange) (string, error) {
	ctx, cancel := p.lab.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	c, err := p.machine(v.From).DialContext(ctx, network, to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	p.result.Outcome = fmt.Sprintf("connected %v -> %v", c.LocalAddr(), c.RemoteAddr())
	defer p.flow(network, c)
	if network == "tcp" && !v.Send.IsSet() && !v.Expect.IsSet() {
		return "", nil
	}
	c.SetDeadline(p.lab.Deadline(stepTimeout))
	if _, err := io.WriteString(c, v.Send.Value); err != nil {
		return "", err
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	if err != nil && err != io.EOF {
		return "", err
	}
	p.result.Outcome = fmt.Sprintf("%s from %v: %q", plural(n, "byte"), c.RemoteAddr(), shorten(string(buf[:n]), 40))
	return string(buf[:n]), nil
}
