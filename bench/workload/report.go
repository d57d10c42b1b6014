package workload

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/podwire/podwire/emu"
)

// A Report is what came of a workload.
type Report struct {
	Workload string        `json:"workload"`
	From     string        `json:"from"`
	To       string        `json:"to"`
	TCP      string        `json:"tcp"`   // settings of every TCP connection
	Start    time.Duration `json:"start"` // on the lab's clock
	Options  Options       `json:"options"`
	Flows    []Flow        `json:"flows"`
}

// A Flow is one flow of a workload.
type Flow struct {
	Kind   emu.FlowKind   `json:"kind"`
	From   string         `json:"from"`
	To     string         `json:"to"`
	Result emu.FlowResult `json:"result"`
}

// WriteText prints the report in the manner of iperf3: a line for each interval,
// then one for all of the time, of each flow.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	for i, f := range r.Flows {
		if i > 0 {
			fmt.Fprintln(&b)
		}
		fmt.Fprintf(&b, "[%3d] %s from %s to %s\n", i+1, f.Kind, f.From, f.To)
		f.write(&b, i+1, r)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// write prints one flow.
func (f *Flow) write(b *bytes.Buffer, id int, r *Report) {
	rates := f.Kind != emu.PingFlow
	switch {
	case f.Kind == emu.BulkFlow:
		fmt.Fprintln(b, "[ ID] Interval           Transfer     Bitrate         Retr  Cwnd        RTT")
	case rates:
		fmt.Fprintln(b, "[ ID] Interval           Transfer     Bitrate         Lost  Delay")
	default:
		fmt.Fprintln(b, "[ ID] Interval           Lost  RTT")
	}
	last := time.Duration(0)
	for _, s := range f.Result.Series {
		at := s.Time - r.Start
		fmt.Fprintf(b, "[%3d] %s sec  ", id, r.interval(last, at))
		bytes := s.Goodput / 8 * (at - last).Seconds()
		switch {
		case f.Kind == emu.BulkFlow:
			fmt.Fprintf(b, "%s  %s  %4d  %4d segs   %v\n", amount(bytes), rate(s.Goodput), s.Retransmits, s.Cwnd, s.RTT)
		case rates:
			fmt.Fprintf(b, "%s  %s  %4d  %v\n", amount(bytes), rate(s.Goodput), s.Lost, s.RTT)
		default:
			fmt.Fprintf(b, "%4d  %v\n", s.Lost, s.RTT)
		}
		last = at
	}
	fmt.Fprintln(b, "- - - - - - - - - - - - - - - - - - - - - - - - -")
	f.total(b, id, r)
}

// interval prints from when to when, as finely as the samples ask for.
func (r *Report) interval(from, to time.Duration) string {
	places := 2
	if r.Options.Sample < 10*time.Millisecond {
		places = 5
	}
	return fmt.Sprintf("%6.*f-%-6.*f", places, from.Seconds(), places, to.Seconds())
}

// total prints the last line of a flow.
func (f *Flow) total(b *bytes.Buffer, id int, r *Report) {
	x, o := &f.Result, r.Options
	fmt.Fprintf(b, "[%3d] %s sec  ", id, r.interval(o.Omit, o.For))
	if f.Kind == emu.BulkFlow {
		fmt.Fprintf(b, "%s  %s  %4d  connect %v\n", amount(x.Goodput/8*(o.For-o.Omit).Seconds()), rate(x.Goodput), x.Retransmits, x.Connect)
		return
	}
	if f.Kind != emu.PingFlow {
		fmt.Fprintf(b, "%s  %s  ", amount(x.Goodput/8*(o.For-o.Omit).Seconds()), rate(x.Goodput))
	}
	fmt.Fprintf(b, "%d/%d (%.2g%%) lost, p50 %v p90 %v p99 %v max %v\n", x.Sent-x.Received, x.Sent, 100*x.Loss(), x.P50, x.P90, x.P99, x.Max)
}

// amount prints bytes as iperf3 does, in units of 1,024.
func amount(bytes float64) string {
	for _, u := range []struct {
		factor float64
		name   string
	}{{1 << 30, "GBytes"}, {1 << 20, "MBytes"}, {1 << 10, "KBytes"}} {
		if bytes >= u.factor {
			return fmt.Sprintf("%5.3g %s", bytes/u.factor, u.name)
		}
	}
	return fmt.Sprintf("%5.0f Bytes ", bytes)
}

// rate prints bit/s as iperf3 does, in units of 1,000.
func rate(v float64) string {
	for _, u := range []struct {
		factor float64
		name   string
	}{{1e9, "Gbits/sec"}, {1e6, "Mbits/sec"}, {1e3, "Kbits/sec"}} {
		if v >= u.factor {
			return fmt.Sprintf("%5.3g %s", v/u.factor, u.name)
		}
	}
	return fmt.Sprintf("%5.0f bits/sec ", v)
}
