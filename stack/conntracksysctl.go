package stack

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/podwire/podwire/stack/conntrack"
)

// conntrackSysctls are the parameters of connection tracking,
// net.netfilter.nf_conntrack_*, with the kernel's names and defaults
// (Documentation/networking/nf_conntrack-sysctl.rst). Every namespace has its
// own and starts with the defaults, whatever the node has.
func conntrackSysctls() []sysctl {
	const prefix = "net.netfilter.nf_conntrack_"
	all := []sysctl{
		number(prefix+"max", conntrack.DefaultMax, func(c *Config) *int { return &c.Conntrack.Max }),
		conntrackBuckets(prefix + "buckets"),
		conntrackCount(prefix + "count"),
		flag(prefix+"acct", func(c *Config) *bool { return &c.Conntrack.Acct }),
		flag(prefix+"tcp_be_liberal", func(c *Config) *bool { return &c.Conntrack.TCPLiberal }),
		flag(prefix+"tcp_ignore_invalid_rst", func(c *Config) *bool { return &c.Conntrack.TCPIgnoreInvalidRST }),
		{
			name: prefix + "tcp_loose",
			get:  func(c *Config) string { return not(c.Conntrack.TCPStrict) },
			set:  func(c *Config, value string) (err error) { c.Conntrack.TCPStrict, err = notFlag(value); return err },
		},
		number(prefix+"tcp_max_retrans", 3, func(c *Config) *int { return &c.Conntrack.TCPMaxRetrans }).upTo(255),
	}
	for name, field := range map[string]func(*conntrack.Timeouts) *time.Duration{
		"tcp_timeout_syn_sent":       func(t *conntrack.Timeouts) *time.Duration { return &t.TCPSynSent },
		"tcp_timeout_syn_recv":       func(t *conntrack.Timeouts) *time.Duration { return &t.TCPSynRecv },
		"tcp_timeout_established":    func(t *conntrack.Timeouts) *time.Duration { return &t.TCPEstablished },
		"tcp_timeout_fin_wait":       func(t *conntrack.Timeouts) *time.Duration { return &t.TCPFinWait },
		"tcp_timeout_close_wait":     func(t *conntrack.Timeouts) *time.Duration { return &t.TCPCloseWait },
		"tcp_timeout_last_ack":       func(t *conntrack.Timeouts) *time.Duration { return &t.TCPLastAck },
		"tcp_timeout_time_wait":      func(t *conntrack.Timeouts) *time.Duration { return &t.TCPTimeWait },
		"tcp_timeout_close":          func(t *conntrack.Timeouts) *time.Duration { return &t.TCPClose },
		"tcp_timeout_max_retrans":    func(t *conntrack.Timeouts) *time.Duration { return &t.TCPMaxRetrans },
		"tcp_timeout_unacknowledged": func(t *conntrack.Timeouts) *time.Duration { return &t.TCPUnack },

		"udp_timeout":        func(t *conntrack.Timeouts) *time.Duration { return &t.UDP },
		"udp_timeout_stream": func(t *conntrack.Timeouts) *time.Duration { return &t.UDPStream },
		"icmp_timeout":       func(t *conntrack.Timeouts) *time.Duration { return &t.ICMP },
		"gre_timeout":        func(t *conntrack.Timeouts) *time.Duration { return &t.GRE },
		"gre_timeout_stream": func(t *conntrack.Timeouts) *time.Duration { return &t.GREStream },
		"generic_timeout":    func(t *conntrack.Timeouts) *time.Duration { return &t.Generic },

		"sctp_timeout_closed":            func(t *conntrack.Timeouts) *time.Duration { return &t.SCTPClosed },
		"sctp_timeout_cookie_wait":       func(t *conntrack.Timeouts) *time.Duration { return &t.SCTPCookieWait },
		"sctp_timeout_cookie_echoed":     func(t *conntrack.Timeouts) *time.Duration { return &t.SCTPCookieEchoed },
		"sctp_timeout_established":       func(t *conntrack.Timeouts) *time.Duration { return &t.SCTPEstablished },
		"sctp_timeout_shutdown_sent":     func(t *conntrack.Timeouts) *time.Duration { return &t.SCTPShutdownSent },
		"sctp_timeout_shutdown_recd":     func(t *conntrack.Timeouts) *time.Duration { return &t.SCTPShutdownRecd },
		"sctp_timeout_shutdown_ack_sent": func(t *conntrack.Timeouts) *time.Duration { return &t.SCTPShutdownAckSent },
		"sctp_timeout_heartbeat_sent":    func(t *conntrack.Timeouts) *time.Duration { return &t.SCTPHeartbeatSent },
	} {
		all = append(all, seconds(prefix+name, field))
	}
	for i := range all {
		all[i].apply = (*Host).applyConntrack
	}
	return all
}

func (h *Host) applyConntrack() error {
	if h.track != nil {
		h.track.Configure(h.cfg.Conntrack)
	}
	return nil
}

// conntrackBuckets reads as what the kernel makes of the number written.
func conntrackBuckets(name string) sysctl {
	s := number(name, conntrack.DefaultBuckets, func(c *Config) *int { return &c.Conntrack.Buckets })
	set := s.set
	s.set = func(c *Config, value string) error {
		if err := set(c, value); err != nil {
			return err
		}
		c.Conntrack.Buckets = conntrack.RoundBuckets(c.Conntrack.Buckets)
		return nil
	}
	return s
}

// conntrackCount is the number of flows in the table.
func conntrackCount(name string) sysctl {
	return sysctl{name: name,
		get: func(*Config) string { return "0" },
		set: func(*Config, string) error { return errors.New("permission denied, it can only be read") },
		now: func(h *Host) (string, error) {
			if h.track == nil {
				return "0", nil
			}
			h.track.Sweep(h.now())
			return strconv.Itoa(h.track.Len()), nil
		}}
}

// upTo bounds a number.
func (s sysctl) upTo(limit int) sysctl {
	set := s.set
	s.set = func(c *Config, value string) error {
		if n, err := strconv.Atoi(value); err == nil && n > limit {
			return fmt.Errorf("%q, want a number from 1 to %d", value, limit)
		}
		return set(c, value)
	}
	return s
}

func seconds(name string, field func(*conntrack.Timeouts) *time.Duration) sysctl {
	return sysctl{name: name,
		get: func(c *Config) string {
			d := *field(&c.Conntrack.Timeouts)
			if d == 0 {
				def := conntrack.DefaultTimeouts()
				d = *field(&def)
			}
			return strconv.Itoa(int(d / time.Second))
		},
		set: func(c *Config, value string) error {
			n, err := strconv.Atoi(value)
			if err != nil || n <= 0 || n > 1<<31-1 {
				return fmt.Errorf("%q, want seconds, above 0", value)
			}
			*field(&c.Conntrack.Timeouts) = time.Duration(n) * time.Second
			return nil
		}}
}
