package ipvs

import "time"

// tcpState is IP_VS_TCP_S_*.
type tcpState uint8

const (
	tcpNone tcpState = iota
	tcpEstablished
	tcpSynSent
	tcpSynRecv
	tcpFinWait
	tcpTimeWait
	tcpClose
	tcpCloseWait
	tcpLastAck
	tcpListen
	tcpSynAck
	numTCP
)

var tcpNames = [numTCP]string{"NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK"}

var tcpTimeouts = [numTCP]time.Duration{2 * time.Second, 15 * time.Minute, 2 * time.Minute, time.Minute, 2 * time.Minute, 2 * time.Minute,
	10 * time.Second, time.Minute, 30 * time.Second, 2 * time.Minute, 2 * time.Minute}

// udpTimeout is IP_VS_UDP_S_NORMAL.
const udpTimeout = 5 * time.Minute

// Short names for the table.
const (
	sNO, sES, sSS, sSR, sFW = tcpNone, tcpEstablished, tcpSynSent, tcpSynRecv, tcpFinWait
	sTW, sCL, sCW, sLA, sLI = tcpTimeWait, tcpClose, tcpCloseWait, tcpLastAck, tcpListen
	sSA                     = tcpSynAck
)

// tcpNext is tcp_states of ip_vs_proto_tcp.c: by direction, flag (SYN, FIN, ACK, RST) and state.
var tcpNext = [2][4][numTCP]tcpState{
	{ // to the server
		{sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR},
		{sCL, sCW, sSS, sTW, sTW, sTW, sCL, sCW, sLA, sLI, sTW},
		{sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES},
		{sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sSR},
	},
	{ // from it
		{sSS, sES, sSS, sSR, sSS, sSS, sSS, sSS, sSS, sLI, sSR},
		{sTW, sFW, sSS, sTW, sFW, sTW, sCL, sTW, sLA, sLI, sTW},
		{sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sLA, sES, sES},
		{sCL, sCL, sSS, sCL, sCL, sTW, sCL, sCL, sCL, sCL, sCL},
	},
}

// TCP flags (RFC 9293 §3.1).
const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

// advanceTCP is set_tcp_state: the state after a segment with flags.
func (c *Conn) advanceTCP(fromServer bool, flags byte) {
	dir, next := 0, tcpClose
	if fromServer {
		dir = 1
	}
	switch {
	case flags&flagRST != 0:
		next = tcpNext[dir][3][c.state]
	case flags&flagSYN != 0:
		next = tcpNext[dir][0][c.state]
	case flags&flagFIN != 0:
		next = tcpNext[dir][1][c.state]
	case flags&flagACK != 0:
		next = tcpNext[dir][2][c.state]
	}
	if next != c.state {
		switch established := next == tcpEstablished; {
		case !c.inactive && !established:
			c.server.Active--
			c.server.Inactive++
			c.inactive = true
		case c.inactive && established:
			c.server.Active++
			c.server.Inactive--
			c.inactive = false
		}
		if next == tcpEstablished && c.control != nil {
			c.control.assured = true
		}
	}
	c.state, c.timeout = next, tcpTimeouts[next]
}
