// Package workload is the traffic that people measure networks with, over emulated
// labs: one TCP stream, two against each other, short connections, requests, UDP at
// a rate, and all of it mixed.
//
//	r, err := workload.Run(lab, from, to, "bulk", workload.Options{For: time.Second})
//	err = r.WriteText(os.Stdout)
//
// Time is the lab's: in virtual time the figures are the network's, exact and
// repeatable; in real time they are the host's.
package workload

import (
	"fmt"
	"strings"
	"time"

	"github.com/podwire/podwire/emu"
)

// Options are the settings of a workload. The zero value of each has a default.
type Options struct {
	For  time.Duration // how long it sends; 0 means 1 s
	Omit time.Duration // at the beginning of it, what does not count: iperf3 -O

	Interval time.Duration // between requests and connections; 0 means 10 ms
	Size     int           // bytes of a request or datagram; 0 means 1,000
	Rate     int64         // bit/s of UDP payload; 0 means 10 Mbit/s
	Sample   time.Duration // how far apart the lines of the report are; 0 means a tenth of For
}

func (o *Options) setDefaults() error {
	if o.For == 0 {
		o.For = time.Second
	}
	if o.Interval == 0 {
		o.Interval = 10 * time.Millisecond
	}
	if o.Size == 0 {
		o.Size = 1000
	}
	if o.Rate == 0 {
		o.Rate = 10e6
	}
	if o.Sample == 0 {
		o.Sample = o.For / 10
	}
	if o.Rate < 0 {
		return fmt.Errorf("workload: rate %d, want more than 0", o.Rate)
	}
	return nil
}

// A Workload is one of them.
type Workload struct {
	Name    string
	Summary string // one line

	flows func(o *Options) []flow
}

// flow is a flow before it is known who sends it.
type flow struct {
	emu.FlowConfig
	back bool // from the second machine to the first
}

func bulk(o *Options) flow {
	return flow{FlowConfig: emu.FlowConfig{Kind: emu.BulkFlow, Omit: o.Omit}}
}

func backwards(f flow) flow {
	f.back = true
	return f
}

func every(kind emu.FlowKind, o *Options) flow {
	return flow{FlowConfig: emu.FlowConfig{Kind: kind, Interval: o.Interval, Size: o.Size}}
}

func udp(o *Options) flow {
	interval := time.Duration(float64(o.Size) * 8e9 / float64(o.Rate))
	return flow{FlowConfig: emu.FlowConfig{Kind: emu.UDPFlow, Interval: max(1, interval), Size: o.Size, Omit: o.Omit}}
}

var workloads = []Workload{
	{"bulk", "one TCP stream that is kept full (iperf3)", func(o *Options) []flow { return []flow{bulk(o)} }},
	{"both-ways", "two TCP streams against each other (iperf3 --bidir)", func(o *Options) []flow { return []flow{bulk(o), backwards(bulk(o))} }},
	{"connections", "TCP connections one after another, each with a request and its answer", func(o *Options) []flow { return []flow{every(emu.ConnectFlow, o)} }},
	{"requests", "requests and answers over one open TCP connection", func(o *Options) []flow { return []flow{every(emu.RequestFlow, o)} }},
	{"udp", "UDP datagrams at a rate (iperf3 -u)", func(o *Options) []flow { return []flow{udp(o)} }},
	{"mixed", "a stream, requests, short connections, UDP and pings beside each other", func(o *Options) []flow {
		return []flow{bulk(o), every(emu.RequestFlow, o), every(emu.ConnectFlow, o), udp(o), {FlowConfig: emu.FlowConfig{Kind: emu.PingFlow, Interval: o.Interval}}}
	}},
}

// Workloads lists all workloads.
func Workloads() []Workload { return append([]Workload(nil), workloads...) }

// Find returns the workload of that name.
func Find(name string) (Workload, bool) {
	for _, w := range workloads {
		if w.Name == name {
			return w, true
		}
	}
	return Workload{}, false
}

// Run runs a workload from one machine to another, and returns when it has ended.
func Run(lab *emu.Lab, from, to *emu.Machine, name string, o Options) (*Report, error) {
	w, ok := Find(name)
	if !ok {
		var names []string
		for _, w := range workloads {
			names = append(names, w.Name)
		}
		return nil, fmt.Errorf("workload: found %q, want one of %s", name, strings.Join(names, ", "))
	}
	if from == nil || to == nil {
		return nil, fmt.Errorf("workload: %s: want a machine at both ends", name)
	}
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	r := &Report{Workload: name, From: from.Name(), To: to.Name(), TCP: emu.TCPSettings(from.Lab().Driver().Virtual()), Options: o}
	var configs []emu.FlowConfig
	for _, f := range w.flows(&o) {
		f.From, f.To, f.For, f.Sample = from, to, o.For, o.Sample
		if f.back {
			f.From, f.To = to, from
		}
		configs = append(configs, f.FlowConfig)
		r.Flows = append(r.Flows, Flow{Kind: f.Kind, From: f.From.Name(), To: f.To.Name()})
	}
	r.Start = lab.Now()
	results, err := lab.RunFlows(configs...)
	if err != nil {
		return nil, err
	}
	for i := range results {
		r.Flows[i].Result = results[i]
	}
	return r, nil
}
