package conntrack

import "time"

// Timeouts are how long an entry lives after its latest packet, by protocol and state. A zero field has the Linux default
// given beside it. kube-proxy sets TCPEstablished to 24 hours and TCPCloseWait to 1 hour.
type Timeouts struct {
	TCPSynSent     time.Duration // 120 s
	TCPSynRecv     time.Duration // 60 s
	TCPEstablished time.Duration // 432000 s, five days
	TCPFinWait     time.Duration // 120 s
	TCPCloseWait   time.Duration // 60 s
	TCPLastAck     time.Duration // 30 s
	TCPTimeWait    time.Duration // 120 s
	TCPClose       time.Duration // 10 s
	TCPMaxRetrans  time.Duration // 300 s: after three retransmissions without an answer
	TCPUnack       time.Duration // 300 s: data nobody acknowledges, and flows picked up in the middle, until answered

	UDP       time.Duration // 30 s
	UDPStream time.Duration // 120 s: answered, and at least two seconds old
	ICMP      time.Duration // 30 s
	GRE       time.Duration // 30 s
	GREStream time.Duration // 180 s: answered
	Generic   time.Duration // 600 s: every other protocol

	SCTPClosed          time.Duration // 10 s
	SCTPCookieWait      time.Duration // 3 s
	SCTPCookieEchoed    time.Duration // 3 s
	SCTPEstablished     time.Duration // 210 s
	SCTPShutdownSent    time.Duration // 3 s
	SCTPShutdownRecd    time.Duration // 3 s
	SCTPShutdownAckSent time.Duration // 3 s
	SCTPHeartbeatSent   time.Duration // 30 s
}

// DefaultTimeouts returns the defaults of Linux.
func DefaultTimeouts() Timeouts { return Timeouts{}.withDefaults() }

func (t Timeouts) withDefaults() Timeouts {
	def := func(d *time.Duration, seconds time.Duration) {
		if *d <= 0 {
			*d = seconds * time.Second
		}
	}
	def(&t.TCPSynSent, 120)
	def(&t.TCPSynRecv, 60)
	def(&t.TCPEstablished, 432000)
	def(&t.TCPFinWait, 120)
	def(&t.TCPCloseWait, 60)
	def(&t.TCPLastAck, 30)
	def(&t.TCPTimeWait, 120)
	def(&t.TCPClose, 10)
	def(&t.TCPMaxRetrans, 300)
	def(&t.TCPUnack, 300)

	def(&t.UDP, 30)
	def(&t.UDPStream, 120)
	def(&t.ICMP, 30)
	def(&t.GRE, 30)
	def(&t.GREStream, 180)
	def(&t.Generic, 600)

	def(&t.SCTPClosed, 10)
	def(&t.SCTPCookieWait, 3)
	def(&t.SCTPCookieEchoed, 3)
	def(&t.SCTPEstablished, 210)
	def(&t.SCTPShutdownSent, 3)
	def(&t.SCTPShutdownRecd, 3)
	def(&t.SCTPShutdownAckSent, 3)
	def(&t.SCTPHeartbeatSent, 30)
	return t
}
