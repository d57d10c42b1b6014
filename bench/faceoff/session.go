package faceoff

import (
	"fmt"
	"strings"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/explain"
	"github.com/podwire/podwire/link"
)

// pingTimeout is how long an experiment waits for one ping.
const pingTimeout = time.Second

// ping sends one ping from pod to pod and returns the round trip.
func (f *field) ping() (time.Duration, error) {
	r, err := f.from.Ping(f.to.Name(), pingTimeout)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("ping from %s to %s: %w", short(f.from.Name()), short(f.to.Name()), err)
	}
	return r.RTT, nil
}

// flow runs flows from pod to pod. One that leaves From and To open is from the
// first to the second.
func (f *field) flows(list ...emu.FlowConfig) ([]emu.FlowResult, error) {
	for i := range list {
		if list[i].From == nil {
			list[i].From, list[i].To = &f.from.Machine, &f.to.Machine
		}
	}
	return f.RunFlows(list...)
}

func (f *field) flow(c emu.FlowConfig) (emu.FlowResult, error) {
	r, err := f.flows(c)
	if err != nil {
		return emu.FlowResult{}, err
	}
	return r[0], nil
}

const megabyte = 1_000_000

// session is first contact and everyday life: most of what needs no stream.
func (b *bout) session() error {
	return b.enter(0, func(f *field) error {
		m := f.measure()
		defer m.stop()
		took, err := f.connectCold()
		if err != nil {
			return err
		}
		b.set("connect-cold", seconds(took))
		if err := b.moveMegabyte(f, m); err != nil {
			return err
		}
		if err := b.dissect(f, m); err != nil {
			return err
		}
		if err := b.latency(f); err != nil {
			return err
		}
		if err := b.datagrams(f, m); err != nil {
			return err
		}
		c := m.read()
		b.set("icmp-errors", float64(c.icmp))
		b.set("arp", float64(c.arp))
		b.set("control", float64(c.control))
		b.tables(f)
		if err := b.trace(f); err != nil {
			return err
		}
		b.idle(f, m)
		return nil
	})
}

// connectCold opens the first connection.
func (f *field) connectCold() (time.Duration, error) {
	ln, err := f.to.Listen("tcp", ":0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	listens := ln.Addr().String()
	port := listens[strings.LastIndexByte(listens, ':'):]
	start := f.Now()
	c, err := f.from.Dial("tcp", f.to.Addr().String()+port)
	if err != nil {
		return 0, err
	}
	took := f.Now() - start
	if s, err := ln.Accept(); err == nil {
		s.Close()
	}
	return took, c.Close()
}

// drain waits until what was sent last has arrived and was acknowledged.
func (b *bout) drain(f *field) { f.Sleep(10*b.fit.rtt + 100*time.Millisecond) }

// moveMegabyte counts what it takes to move a megabyte.
func (b *bout) moveMegabyte(f *field, m *meter) error {
	b.drain(f)
	f.Driver().Do(func() { m.sample = true })
	before := m.read()
	r, err := f.flow(emu.FlowConfig{Kind: emu.BulkFlow, For: time.Minute, Bytes: megabyte})
	if err != nil {
		return err
	}
	b.drain(f)
	f.Driver().Do(func() { m.sample = false })
	if r.Received != megabyte {
		return fmt.Errorf("%d of %d bytes arrived in a minute", r.Received, megabyte)
	}
	c := m.read().less(before)
	b.set("frames-mb", float64(c.frames))
	b.set("wire-mb", float64(c.bytes))
	return nil
}

// dissect reads MTU, MSS and the headers of the largest segment.
func (b *bout) dissect(f *field, m *meter) error {
	var mtu, mss int
	var frame, inner []byte
	f.Driver().Do(func() {
		mtu, mss, frame, inner = f.from.Stack().Device("eth0").MTU, m.mss, m.best, m.bestIP
	})
	b.set("mtu", float64(mtu))
	b.set("mss", float64(mss))
	b.check("mtu", "pod MTU", Bytes, float64(mtu), float64(b.fit.mtu-b.fit.reserved), 0, "MTU of the underlay %d - %d that the design reserves", b.fit.mtu, b.fit.reserved)
	b.check("mss", "TCP MSS", Bytes, float64(mss), float64(mtu-40), 0, "pod MTU %d - IPv4 20 - TCP 20", mtu)
	if frame == nil {
		return fmt.Errorf("no segment of %s was seen on the way", short(f.from.Name()))
	}
	from, _ := f.nodes()
	point := from.Name()
	if !f.across() {
		point = short(f.from.Name()) + "/eth0"
	}
	b.packet = &Packet{Point: point, Bytes: len(frame), Layers: takeApart(link.LinkEthernet, frame, inner)}
	payload := b.packet.payload()
	b.set("payload", float64(payload))
	b.set("headers", float64(len(frame)-payload))
	b.set("encapsulation", float64(len(frame)-link.EthernetHeader-len(inner)))
	return nil
}

// latency measures round trips, requests and connections.
func (b *bout) latency(f *field) error {
	pings, err := f.flow(emu.FlowConfig{Kind: emu.PingFlow, For: time.Second, Interval: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	b.set("rtt-p50", seconds(pings.P50))
	b.set("rtt-p90", seconds(pings.P90))
	b.set("rtt-p99", seconds(pings.P99))
	requests, err := f.flow(emu.FlowConfig{Kind: emu.RequestFlow, For: 100 * time.Millisecond, Interval: time.Millisecond})
	if err != nil {
		return err
	}
	b.set("request-p50", seconds(requests.P50))
	b.set("request-p99", seconds(requests.P99))
	connects, err := f.flow(emu.FlowConfig{Kind: emu.ConnectFlow, For: time.Second, Interval: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	b.set("connect", seconds(connects.Connect))
	if connects.P50 > 0 {
		b.set("connections", 1/seconds(connects.P50))
	}
	return nil
}

// datagrams sends datagrams that are as large as the underlay allows.
func (b *bout) datagrams(f *field, m *meter) error {
	const n = 100
	before := m.read()
	c := emu.FlowConfig{Kind: emu.UDPFlow, For: n * time.Millisecond, Interval: time.Millisecond, Size: b.fit.mtu - 28}
	r, err := f.flow(c)
	if err != nil {
		return err
	}
	sent := m.read().less(before)
	b.set("frames-datagram", float64(sent.frames-sent.arp-sent.control)/n)
	b.set("fragments", float64(sent.fragments))
	if r.Received < r.Sent {
		b.warnings = append(b.warnings, fmt.Sprintf("%s: %d of %d datagrams of %d bytes arrived", b.design, r.Received, r.Sent, c.Size))
	}
	return nil
}

// trace follows a ping.
func (b *bout) trace(f *field) error {
	r, err := explain.Trace(f.Lab, explain.Probe{From: &f.from.Machine, To: f.to.Name()})
	if err != nil {
		return err
	}
	b.path = r.Hops
	return b.checkRTT(f, r)
}

// checkRTT holds the round trip against latencies and rates of the cables, where
// there is no router in between and the nodes take no time.
func (b *bout) checkRTT(f *field, r *explain.Report) error {
	from, to := f.nodes()
	a, z := from.Uplinks(), to.Uplinks()
	if b.fit.cpu != "" || !f.across() || len(a) != 1 || len(z) != 1 || a[0].Segment != z[0].Segment {
		return nil
	}
	bytes := map[string]int{}
	for _, h := range r.Hops {
		if h.Direction == "out" && (h.Machine == from.Name() && h.Device == a[0].Device.Name || h.Machine == to.Name() && h.Device == z[0].Device.Name) {
			bytes[h.Of] = h.Bytes
		}
	}
	var theory float64
	var terms []string
	cross := func(c link.WireConfig, of string) {
		n := bytes[of] + link.FrameOverhead
		theory += seconds(c.Latency)
		term := c.Latency.String()
		if c.Rate > 0 {
			theory += float64(n) * 8 / float64(c.Rate)
			term += fmt.Sprintf(" + %d B at %s", n, Text(float64(c.Rate), BitRate))
		}
		terms = append(terms, term)
	}
	f.Driver().Do(func() {
		out, in := a[0].Cable.Config()
		out2, in2 := z[0].Cable.Config()
		for _, c := range []link.WireConfig{out, in2} {
			cross(c, "request")
		}
		for _, c := range []link.WireConfig{out2, in} {
			cross(c, "answer")
		}
	})
	if p50 := b.values["rtt-p50"]; b.cfg.RealTime && p50 > 1.05*theory {
		b.warnings = append(b.warnings, fmt.Sprintf("%s: in real time this host was the limit, not the network: a ping takes %s, of which the cables take %s",
			b.design, Text(p50, Seconds), Text(theory, Seconds)))
	}
	b.check("rtt", "ping p50, idle", Seconds, b.values["rtt-p50"], theory, 0.001, "%s", strings.Join(terms, " + "))
	return nil
}

// idle counts what is sent when nobody sends.
func (b *bout) idle(f *field, m *meter) {
	if b.cfg.RealTime {
		b.skip("only in virtual time", "idle-minute")
		return
	}
	f.Sleep(time.Minute)
	before := m.read()
	f.Sleep(time.Minute)
	b.set("idle-minute", float64(m.read().less(before).frames))
}
