package shell

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/text"
	"github.com/podwire/podwire/stack"
)

var tcpdumpCommand = Command{
	Name:    "tcpdump",
	Usage:   "[-nevStl] [-i DEVICE|any] [-c COUNT] [--nano] [--time SECONDS] [EXPRESSION]",
	Summary: "print the packets of a device; in the background, or for --time, 10 s at most",
	run:     (*call).tcpdump,
}

// foregroundTime bounds tcpdump where nobody can interrupt it.
const foregroundTime = 10 * time.Second

// sniffer is one run of tcpdump. What Observe writes the driver's lock guards.
type sniffer struct {
	*call
	printer text.Printer
	stamps  text.Stamps
	filter  *text.Filter
	names   map[*link.Point]string // what to write in front; "" for one device
	count   int
	wait    *link.Waiter

	lines []string // not yet written
	seen  int
	ended bool
}

func (c *call) tcpdump() error {
	s := &sniffer{call: c, names: map[*link.Point]string{}}
	var device string
	var limit float64
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&s.printer.Ether, "ether", "e", false, "")
		f.BoolVarP(&s.printer.Verbose, "verbose", "v", false, "")
		f.BoolVarP(&s.printer.Absolute, "absolute", "S", false, "")
		f.BoolP("numeric", "n", true, "") // addresses are numbers
		f.BoolP("line", "l", true, "")    // lines come when they are there
		f.CountVarP(&s.stamps.Style, "stamp", "t", "")
		f.BoolVar(&s.stamps.Nano, "nano", false, "")
		f.StringVarP(&device, "interface", "i", "", "")
		f.IntVarP(&s.count, "count", "c", 0, "")
		f.Float64Var(&limit, "time", 0, "")
	})
	switch {
	case !ok:
		return err
	case s.count < 0 || !(limit >= 0 && limit < 1e6) || s.stamps.Style > text.MaxStyle:
		return c.misused("-c takes a number of packets, --time seconds, -t comes up to five times")
	}
	if s.filter, err = text.ParseFilter(strings.Join(args, " "), func(name string) (netip.Addr, bool) {
		a, err := c.lab.Resolve(name)
		return a, err == nil
	}); err != nil {
		return c.fail(1, "%v", err)
	}
	devices, err := s.devices(device)
	if err != nil {
		return err
	}
	return s.listen(devices, seconds(limit))
}

// devices finds what to listen on: one device, the first one without a name, or
// all of them.
func (s *sniffer) devices(name string) ([]*stack.Device, error) {
	var all, chosen []*stack.Device
	s.do(func() { all = s.host.Devices() })
	for _, d := range all {
		if name == "any" || d.Name == name || name == "" && !d.Loopback() && len(chosen) == 0 {
			chosen = append(chosen, d)
		}
	}
	if len(chosen) == 0 {
		return nil, s.fail(1, "%s: No such device exists", name)
	}
	for _, d := range chosen {
		s.names[d.Point()] = ""
		if name == "any" {
			s.names[d.Point()] = d.Name
		}
	}
	if name == "" {
		name = chosen[0].Name
	}
	fmt.Fprintf(s.Err, "listening on %s, link-type EN10MB (Ethernet)\n", name)
	return chosen, nil
}

// listen prints until there are enough packets, time is up, or ctx ends.
func (s *sniffer) listen(devices []*stack.Device, limit time.Duration) error {
	drv := s.lab.Driver()
	if limit == 0 && s.ctx.Done() == nil {
		limit = foregroundTime
	}
	end := func() {
		s.ended = true
		s.wait.Wake()
	}
	var timer *link.Timer
	s.do(func() {
		s.wait = drv.NewWaiter()
		if limit > 0 {
			timer = drv.AfterFunc(drv.NewSource(), limit, end)
		}
		for _, d := range devices {
			d.Point().Watch(s)
		}
	})
	stop := context.AfterFunc(s.ctx, func() { drv.Do(end) })
	defer stop()
	for more := true; more; {
		s.wait.Wait()
		var lines []string
		s.do(func() {
			lines, s.lines = s.lines, nil
			more = !s.ended && !drv.Closed()
		})
		for _, l := range lines {
			s.printf("%s\n", l)
		}
	}
	s.do(func() {
		for _, d := range devices {
			d.Point().Unwatch(s)
		}
		if timer != nil {
			timer.Stop()
		}
	})
	fmt.Fprintf(s.Err, "%d packets captured\n", s.seen)
	return nil
}

// Observe implements link.Observer.
func (s *sniffer) Observe(o *link.Observation) {
	typ := pcap.LinkType(o.Point.Type)
	if s.ended || o.Drop != "" || !s.filter.Match(typ, o.Bytes) {
		return
	}
	line := s.stamps.Next(s.lab.Driver().Epoch().Add(o.Time))
	if name := s.names[o.Point]; name != "" {
		line += fmt.Sprintf("%-5s %-3s ", name, map[link.Direction]string{link.In: "In", link.Out: "Out"}[o.Direction])
	}
	s.lines = append(s.lines, line+s.printer.Packet(typ, o.Bytes, len(o.Bytes)))
	s.seen++
	s.ended = s.seen == s.count
	s.wait.Wake()
}
