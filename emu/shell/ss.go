package shell

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/stack"
)

var ssCommand = Command{
	Name:    "ss",
	Usage:   "[-atulnieHO]",
	Summary: "list sockets: -t TCP, -u UDP, -l listening, -a all, -i what TCP knows",
	run:     (*call).ss,
}

func (c *call) ss() error {
	var all, tcp, udp, listening, info, noHeader bool
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&all, "all", "a", false, "")
		f.BoolVarP(&tcp, "tcp", "t", false, "")
		f.BoolVarP(&udp, "udp", "u", false, "")
		f.BoolVarP(&listening, "listening", "l", false, "")
		f.BoolVarP(&info, "info", "i", false, "")
		f.BoolVarP(&noHeader, "no-header", "H", false, "")
		f.BoolP("numeric", "n", true, "") // names of ports are never shown
	})
	switch {
	case !ok:
		return err
	case len(args) > 0:
		return c.misused("filter %q: only options are understood", strings.Join(args, " "))
	}
	var list []stack.Socket
	c.do(func() { list = c.host.Sockets() })
	if !noHeader {
		c.socketLine("Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port")
	}
	for _, s := range list {
		idle := s.State == "LISTEN" || s.State == "UNCONN"
		switch {
		case (tcp || udp) && !(tcp && s.Network == "tcp" || udp && s.Network == "udp"):
			continue
		case !all && idle != listening:
			continue
		}
		peer := "0.0.0.0:*"
		if s.Remote.IsValid() {
			peer = s.Remote.String()
		}
		c.socketLine(s.Network, s.State, strconv.Itoa(s.RecvQ), strconv.Itoa(s.SendQ), s.Local.String(), peer)
		if info && s.TCP != nil && !idle {
			c.printf("\t %s\n", tcpInfoText(s.TCP))
		}
	}
	return nil
}

func (c *call) socketLine(netid, state, recv, send, local, peer string) {
	c.printf("%s\n", strings.TrimRight(fmt.Sprintf("%-5s %-10s %-6s %-6s %21s %21s", netid, state, recv, send, local, peer), " "))
}

// tcpInfoText is the second line of ss -i, with what gVisor tells.
func tcpInfoText(t *stack.TCPInfo) string {
	ms := func(d time.Duration) string { return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', -1, 64) }
	words := []string{"cubic", "rto:" + ms(t.RTO)}
	if t.RTT > 0 {
		words = append(words, "rtt:"+ms(t.RTT)+"/"+ms(t.RTTVar))
	}
	words = append(words, fmt.Sprintf("cwnd:%d", t.Cwnd))
	if t.Ssthresh > 0 {
		words = append(words, fmt.Sprintf("ssthresh:%d", t.Ssthresh))
	}
	words = append(words, fmt.Sprintf("segs_out:%d segs_in:%d", t.SegsOut, t.SegsIn))
	if t.Retransmits > 0 {
		words = append(words, fmt.Sprintf("retrans:0/%d", t.Retransmits))
	}
	return strings.Join(words, " ")
}
