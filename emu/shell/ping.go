package shell

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/stack"
)

var pingCommand = Command{
	Name:    "ping",
	Usage:   "[-bnq] [-c COUNT] [-i SECONDS] [-s BYTES] [-t TTL] [-M do|want|dont] [-Q TOS] [-W SECONDS] [-w SECONDS] [-I DEVICE|ADDRESS] DESTINATION",
	Summary: "send ICMP echo requests; without -c and -w three of them",
	run:     (*call).ping,
}

// defaultPings is how many requests ping sends if nothing says how many.
const defaultPings = 3

// pinger is one run of ping: its options, and what iputils counts.
type pinger struct {
	*call
	name     string // of the destination, as it was given
	to       netip.Addr
	cfg      stack.PingConfig
	size     int
	count    int
	interval time.Duration
	linger   time.Duration // -W
	deadline time.Duration // -w
	quiet    bool
	numeric  bool
	names    map[netip.Addr]string // found so far

	sent, received, repeated, failed, pipe int
	first, last                            time.Duration // when the first and the last request left
	min, max, sum                          int64         // of round trips, in microseconds
	squares                                float64
}

func (c *call) ping() error {
	p := &pinger{call: c, names: map[netip.Addr]string{}}
	done, err := p.options()
	if done || err != nil {
		return err
	}
	conn, err := c.m.OpenPing(p.cfg)
	if err != nil {
		return c.fail(2, "%v", err)
	}
	defer conn.Close()
	defer context.AfterFunc(c.ctx, func() { conn.Close() })()
	from := ""
	if p.cfg.Device != nil || p.cfg.Source.IsValid() {
		from = p.from()
	}
	c.printf("PING %s (%v) %s%d(%d) bytes of data.\n", p.name, p.to, from, p.size, p.size+28)
	if err := p.loop(conn); err != nil {
		return err
	}
	return p.finish()
}

// options reads the command line. Done is true when there is nothing to do.
func (p *pinger) options() (done bool, err error) {
	var pmtu, tos, iface string
	var interval, linger, deadline float64
	var ttl int
	var broadcast bool
	args, ok, err := p.parse(func(f *pflag.FlagSet) {
		f.IntVarP(&p.count, "count", "c", 0, "")
		f.Float64VarP(&interval, "interval", "i", 1, "")
		f.IntVarP(&p.size, "size", "s", 56, "")
		f.IntVarP(&ttl, "ttl", "t", 64, "")
		f.StringVarP(&pmtu, "pmtudisc", "M", "want", "")
		f.StringVarP(&tos, "tos", "Q", "0", "")
		f.Float64VarP(&linger, "linger", "W", 10, "")
		f.Float64VarP(&deadline, "deadline", "w", 0, "")
		f.StringVarP(&iface, "interface", "I", "", "")
		f.BoolVarP(&broadcast, "broadcast", "b", false, "")
		f.BoolVarP(&p.quiet, "quiet", "q", false, "")
		f.BoolVarP(&p.numeric, "numeric", "n", false, "")
	})
	if !ok {
		return true, err
	}
	dsfield, tosErr := strconv.ParseUint(tos, 0, 8)
	switch {
	case len(args) != 1:
		return true, p.misused("found %d destinations, want one", len(args))
	case p.count < 0:
		return true, p.misused("invalid argument: '%d': out of range: 1 <= value <= 9223372036854775807", p.count)
	case !(interval >= 0 && interval < 1e6 && linger >= 0 && linger < 1e6 && deadline >= 0 && deadline < 1e9):
		return true, p.misused("times are seconds, at least 0")
	case p.size < 0 || p.size > 65507:
		return true, p.misused("invalid argument: '%d': out of range: 0 <= value <= 65507", p.size)
	case ttl < 1 || ttl > 255:
		return true, p.misused("invalid argument: '%d': out of range: 1 <= value <= 255", ttl)
	case tosErr != nil:
		return true, p.misused("-Q %s, want a number from 0 to 255 such as 0x28", tos)
	case pmtu != "do" && pmtu != "want" && pmtu != "dont":
		return true, p.misused("wrong value for -M: do, dont, want are valid ones")
	}
	p.interval, p.linger, p.deadline = seconds(interval), seconds(linger), seconds(deadline)
	if interval == 0 {
		p.interval = time.Millisecond // the least that ping waits
	}
	if p.count == 0 && p.deadline == 0 {
		p.count = defaultPings
	}
	p.cfg = stack.PingConfig{Size: p.size, TTL: byte(ttl), TOS: byte(dsfield), DontFragment: pmtu == "do", MayFragment: pmtu == "dont"}
	if p.size == 0 {
		p.cfg.Size = -1
	}
	p.name = args[0]
	if p.to, err = p.resolve(p.name); err != nil {
		return true, err
	}
	if p.to.String() == p.name {
		p.numeric = true
	}
	if err := p.bind(iface); err != nil {
		return true, err
	}
	return false, p.checkBroadcast(broadcast, pmtu)
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// bind is -I.
func (p *pinger) bind(iface string) error {
	if iface == "" {
		return nil
	}
	a, err := netip.ParseAddr(iface)
	var dev *stack.Device
	local := false
	p.do(func() { dev, local = p.host.Device(iface), err == nil && (p.host.HasAddr(a) || a.IsLoopback()) })
	switch {
	case dev != nil:
		p.cfg.Device = dev
	case local:
		p.cfg.Source = a
	case err == nil:
		return p.fail(2, "bind: Cannot assign requested address")
	default:
		return p.fail(2, "unknown iface: %s", iface)
	}
	return nil
}

// checkBroadcast insists on -b for a broadcast address.
func (p *pinger) checkBroadcast(allowed bool, pmtu string) error {
	is := p.to == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	p.do(func() {
		for _, d := range p.host.Devices() {
			for _, a := range d.Addrs() {
				is = is || a.Bits() < 31 && !d.Loopback() && p.to == stack.LastAddr(a)
			}
		}
	})
	switch {
	case is && !allowed:
		return p.fail(2, "Do you want to ping broadcast? Then -b. If not, check your local firewall rules")
	case is && pmtu == "dont":
		return p.fail(2, "broadcast ping does not fragment")
	case is:
		fmt.Fprintln(p.Err, "WARNING: pinging broadcast address")
		p.cfg.DontFragment = true
	}
	return nil
}

// from is what ping says of -I.
func (p *pinger) from() string {
	if p.cfg.Device == nil {
		return fmt.Sprintf("from %v : ", p.cfg.Source)
	}
	var src netip.Addr
	p.do(func() {
		for _, a := range p.cfg.Device.Addrs() {
			if !src.IsValid() || a.Contains(p.to) {
				src = a.Addr()
			}
		}
	})
	if !src.IsValid() {
		return p.cfg.Device.Name + ": "
	}
	return fmt.Sprintf("from %v %s: ", src, p.cfg.Device.Name)
}

// loop sends and receives until ping would end.
func (p *pinger) loop(conn *stack.PingConn) error {
	p.first = p.lab.Now()
	next, end := p.first, time.Duration(math.MaxInt64)
	if p.deadline > 0 {
		end = p.first + p.deadline
	}
	for {
		now := p.lab.Now()
		if p.count > 0 && p.received+p.failed >= p.count || p.deadline > 0 && p.failed > 0 || now >= end {
			return nil
		}
		wake := end
		if p.count == 0 || p.sent < p.count || p.deadline > 0 {
			if now >= next {
				if err := p.send(conn); err != nil {
					return err
				}
				next = now + p.interval
			}
			wake = min(wake, next)
			if p.deadline == 0 && p.sent == p.count {
				wake, end = now+p.patience(), now+p.patience()
			}
		}
		r, err := conn.Receive(wake - p.lab.Now())
		switch {
		case err == nil:
			p.got(r)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil // interrupted
		}
	}
}

// patience is how long ping waits after its last request.
func (p *pinger) patience() time.Duration {
	if p.received > 0 {
		return max(2*time.Duration(p.max)*time.Microsecond, p.interval)
	}
	return p.linger
}

func (p *pinger) send(conn *stack.PingConn) error {
	err := conn.Send(p.to, uint16(p.sent+1))
	switch {
	case errors.Is(err, syscall.EMSGSIZE):
		mtu := 65535
		p.do(func() {
			if path := p.host.PathMTU(p.to); path > 0 {
				mtu = path
			}
		})
		fmt.Fprintf(p.Err, "ping: local error: message too long, mtu=%d\n", mtu)
		p.failed++
	case errors.Is(err, syscall.ENETUNREACH):
		return p.fail(2, "connect: Network is unreachable")
	case err != nil:
		return p.fail(2, "%v", err)
	}
	p.sent++
	p.last = p.lab.Now()
	return nil
}

// got counts and prints an answer.
func (p *pinger) got(r stack.PingReply) {
	if behind := int(uint16(p.sent) - r.Seq); behind <= 0x7fff {
		p.pipe = max(p.pipe, behind+1)
	}
	from := p.answerer(r.From)
	if r.Type != 0 {
		p.failed++
		if !p.quiet {
			p.printf("From %s icmp_seq=%d %s\n", from, r.Seq, icmpErrorText(r))
		}
		return
	}
	dup := ""
	if r.Duplicate {
		p.repeated++
		dup = " (DUP!)"
	} else {
		p.received++
	}
	us := r.RTT.Microseconds()
	if p.received+p.repeated == 1 {
		p.min = us
	}
	p.min, p.max, p.sum = min(p.min, us), max(p.max, us), p.sum+us
	p.squares += float64(us) * float64(us)
	if !p.quiet {
		p.printf("%d bytes from %s: icmp_seq=%d ttl=%d time=%s ms%s\n", r.Size, from, r.Seq, r.TTL, pingTime(us), dup)
	}
}

// answerer is how an address is printed: with its name, unless ping was called
// with an address.
func (p *pinger) answerer(a netip.Addr) string {
	if p.numeric {
		return a.String()
	}
	if p.names[a] == "" {
		p.names[a] = p.nameOf(a)
	}
	if p.names[a] == a.String() {
		return a.String()
	}
	return fmt.Sprintf("%s (%v)", p.names[a], a)
}

// pingTime prints microseconds as milliseconds with three digits, as iputils
// does.
func pingTime(us int64) string {
	switch {
	case us >= 100_000-50:
		return strconv.FormatInt((us+500)/1000, 10)
	case us >= 10_000-5:
		return fmt.Sprintf("%d.%01d", (us+50)/1000, (us+50)%1000/100)
	case us >= 1000:
		return fmt.Sprintf("%d.%02d", (us+5)/1000, (us+5)%1000/10)
	}
	return fmt.Sprintf("%d.%03d", us/1000, us%1000)
}

// icmpErrorText is what ping makes of an ICMP error.
func icmpErrorText(r stack.PingReply) string {
	unreachable := [...]string{"Net", "Host", "Protocol", "Port"}
	switch {
	case r.Type == 3 && int(r.Code) < len(unreachable):
		return "Destination " + unreachable[r.Code] + " Unreachable"
	case r.Type == 3 && r.Code == 4:
		return fmt.Sprintf("Frag needed and DF set (mtu = %d)", r.MTU)
	case r.Type == 3 && r.Code == 5:
		return "Source Route Failed"
	case r.Type == 3 && r.Code == 13:
		return "Packet filtered"
	case r.Type == 3:
		return fmt.Sprintf("Dest Unreachable, Bad Code: %d", r.Code)
	case r.Type == 11 && r.Code == 0:
		return "Time to live exceeded"
	case r.Type == 11 && r.Code == 1:
		return "Frag reassembly time exceeded"
	}
	return fmt.Sprintf("Bad ICMP type: %d", r.Type)
}

// finish prints the statistics and gives the exit code.
func (p *pinger) finish() error {
	p.printf("\n--- %s ping statistics ---\n%d packets transmitted, %d received", p.name, p.sent, p.received)
	if p.repeated > 0 {
		p.printf(", +%d duplicates", p.repeated)
	}
	if p.failed > 0 {
		p.printf(", +%d errors", p.failed)
	}
	if p.sent > 0 {
		p.printf(", %g%% packet loss, time %dms", float64(float32(p.sent-p.received)*100/float32(p.sent)), (p.last - p.first).Milliseconds())
	}
	p.printf("\n")
	comma := ""
	if n := int64(p.received + p.repeated); p.received > 0 {
		mean := float64(p.sum) / float64(n)
		mdev := int64(math.Sqrt(max(0, p.squares/float64(n)-mean*mean)))
		p.printf("rtt min/avg/max/mdev = %s/%s/%s/%s ms", thousandths(p.min), thousandths(p.sum/n), thousandths(p.max), thousandths(mdev))
		comma = ", "
	}
	if p.pipe > 1 {
		p.printf("%spipe %d", comma, p.pipe)
	}
	p.printf("\n")
	if p.received == 0 || p.deadline > 0 && p.count > 0 && p.received < p.count {
		return &ExitError{1}
	}
	return nil
}

func thousandths(us int64) string { return fmt.Sprintf("%d.%03d", us/1000, us%1000) }
