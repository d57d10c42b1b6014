package stack

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// confParam is one of the parameters that every device has a value of:
// net.ipv4.conf.DEVICE.* and net.ipv4.neigh.DEVICE.*.
type confParam uint8

const (
	confAcceptLocal confParam = iota
	confAcceptRedirects
	confARPAccept
	confARPAnnounce
	confARPFilter
	confARPIgnore
	confARPNotify
	confDropGratuitous
	confForwarding
	confProxyARP
	confProxyARPPrivate
	confRouteLocalnet
	confRPFilter
	confSecureRedirects
	confSendRedirects
	confSharedMedia
	neighBaseReachable
	neighDelayProbe
	neighLocktime
	neighMcastSolicit
	neighProxyDelay
	neighProxyQueue
	neighRetrans
	neighUcastSolicit
	neighUnresolved
	numConf
)

// confMerge says how the value for all devices and a device's own make the one
// that counts.
type confMerge uint8

const (
	mergeOwn       confMerge = iota // the device's own
	mergeOr                         // on if either is
	mergeMax                        // the greater
	mergeRedirects                  // a router wants both, a host either
)

// A confInfo describes a parameter. Merging follows include/linux/inetdevice.h,
// names and defaults net/ipv4/devinet.c and net/ipv4/arp.c of the kernel.
type confInfo struct {
	name     string
	def      int32 // of "all" and "default"
	min, max int32
	merge    confMerge
}

var confInfos = [numConf]confInfo{
	confAcceptLocal:     {"accept_local", 0, 0, 1, mergeOr},
	confAcceptRedirects: {"accept_redirects", 1, 0, 1, mergeRedirects},
	confARPAccept:       {"arp_accept", 0, 0, 2, mergeMax},
	confARPAnnounce:     {"arp_announce", 0, 0, 2, mergeMax},
	confARPFilter:       {"arp_filter", 0, 0, 1, mergeOr},
	confARPIgnore:       {"arp_ignore", 0, 0, 8, mergeMax},
	confARPNotify:       {"arp_notify", 0, 0, 1, mergeMax},
	confDropGratuitous:  {"drop_gratuitous_arp", 0, 0, 1, mergeOr},
	confForwarding:      {"forwarding", 0, 0, 1, mergeOwn},
	confProxyARP:        {"proxy_arp", 0, 0, 1, mergeOr},
	confProxyARPPrivate: {"proxy_arp_pvlan", 0, 0, 1, mergeOr},
	confRouteLocalnet:   {"route_localnet", 0, 0, 1, mergeOr},
	confRPFilter:        {"rp_filter", 0, 0, 2, mergeMax},
	confSecureRedirects: {"secure_redirects", 1, 0, 1, mergeOr},
	confSendRedirects:   {"send_redirects", 1, 0, 1, mergeOr},
	confSharedMedia:     {"shared_media", 1, 0, 1, mergeOr},
	neighBaseReachable:  {"base_reachable_time_ms", 30_000, 1, maxMillis, mergeOwn},
	neighDelayProbe:     {"delay_first_probe_time", 5, 0, maxMillis / 1000, mergeOwn},
	neighLocktime:       {"locktime", 100, 0, maxMillis / 10, mergeOwn},
	neighMcastSolicit:   {"mcast_solicit", 3, 0, 1000, mergeOwn},
	neighProxyDelay:     {"proxy_delay", 80, 0, maxMillis / 10, mergeOwn},
	neighProxyQueue:     {"proxy_qlen", 64, 0, 1 << 20, mergeOwn},
	neighRetrans:        {"retrans_time_ms", 1000, 10, maxMillis, mergeOwn},
	neighUcastSolicit:   {"ucast_solicit", 3, 0, 1000, mergeOwn},
	neighUnresolved:     {"unres_qlen", 101, 0, 1 << 20, mergeOwn},
}

// maxMillis bounds times: more than a day.
const maxMillis = 100_000_000

// group is the directory under net.ipv4 that a parameter is in.
func (p confParam) group() string {
	if p >= neighBaseReachable {
		return "neigh"
	}
	return "conf"
}

// confValues are the values of one device, or those named "all" or "default".
type confValues [numConf]int32

func (v *confValues) on(p confParam) bool { return v[p] != 0 }

// hostConf are the values that are not one device's. New devices start with
// the default ones.
type hostConf struct {
	all, def confValues
}

// initConf sets what a host starts with: the kernel's defaults, then what the
// configuration says. Switching forwarding on switches the acceptance of
// redirects off (inet_forward_change).
func (h *Host) initConf() {
	for p, info := range confInfos {
		h.conf.all[p], h.conf.def[p] = info.def, info.def
	}
	if h.cfg.RouteLocalnet {
		h.conf.all[confRouteLocalnet] = 1
	}
	if h.cfg.Forward {
		h.setForward(true)
	}
	for _, k := range slices.Sorted(maps.Keys(h.cfg.conf)) {
		h.applyConf(k)
	}
}

// setForward is writing to ip_forward.
func (h *Host) setForward(on bool) {
	var v int32
	if on {
		v = 1
	}
	h.conf.all[confForwarding], h.conf.def[confForwarding] = v, v
	h.conf.all[confAcceptRedirects] = 1 - v
	for _, d := range h.devices {
		d.own[confForwarding] = v
		d.merge()
	}
}

// confOf returns the set of values of that name, nil if there is no such device.
func (h *Host) confOf(name string) *confValues {
	switch name {
	case "all":
		return &h.conf.all
	case "default":
		return &h.conf.def
	}
	if d := h.Device(name); d != nil {
		return &d.own
	}
	return nil
}

// applyConf brings one parameter of the configuration into force. A device that
// does not exist yet gets its values when it is made.
func (h *Host) applyConf(k confKey) {
	v := h.confOf(k.device())
	if v == nil {
		return
	}
	v[k.param()] = h.cfg.conf[k]
	for _, d := range h.devices {
		d.merge()
	}
}

// initConf gives a new device its values.
func (d *Device) initConf() {
	d.own = d.host.conf.def
	for k, v := range d.host.cfg.conf {
		if k.device() == d.Name {
			d.own[k.param()] = v
		}
	}
	d.merge()
}

// merge computes the values that count.
func (d *Device) merge() {
	all, own := &d.host.conf.all, &d.own
	for p, info := range confInfos {
		v := own[p]
		switch info.merge {
		case mergeOr, mergeMax:
			v = max(v, all[p])
		case mergeRedirects:
			if own.on(confForwarding) {
				v = min(v, all[p])
			} else {
				v = max(v, all[p])
			}
		}
		d.conf[p] = v
	}
}

// confKey names one value: "DEVICE PARAMETER".
type confKey string

func (k confKey) device() string {
	device, _, _ := strings.Cut(string(k), " ")
	return device
}

func (k confKey) param() confParam {
	_, name, _ := strings.Cut(string(k), " ")
	return confParam(slices.IndexFunc(confInfos[:], func(i confInfo) bool { return i.name == name }))
}

// confSysctl finds the parameter of a device behind a sysctl's name, such as
// net.ipv4.conf.flannel.1.rp_filter.
func confSysctl(name string) (sysctl, bool) {
	rest, ok := strings.CutPrefix(name, "net.ipv4.")
	group, rest, ok2 := strings.Cut(rest, ".")
	dot := strings.LastIndexByte(rest, '.')
	if !ok || !ok2 || dot <= 0 || dot > maxDeviceName {
		return sysctl{}, false
	}
	p := confParam(slices.IndexFunc(confInfos[:], func(i confInfo) bool { return i.name == rest[dot+1:] }))
	if p >= numConf || p.group() != group || group == "neigh" && rest[:dot] == "all" {
		return sysctl{}, false
	}
	if rest == "all.forwarding" { // another name for it
		return sysctls[forwardSysctl], true
	}
	return newConfSysctl(rest[:dot], p), true
}

func newConfSysctl(device string, p confParam) sysctl {
	key := confKey(device + " " + confInfos[p].name)
	return sysctl{
		name:      "net.ipv4." + p.group() + "." + device + "." + confInfos[p].name,
		inherited: p.group() == "conf" && (device == "all" || device == "default"),
		get: func(c *Config) string {
			v, ok := c.conf[key]
			switch {
			case ok:
			case device == "all" && p == confRouteLocalnet && c.RouteLocalnet, device == "default" && p == confForwarding && c.Forward:
				v = 1
			default:
				v = confInfos[p].def
			}
			return strconv.Itoa(int(v))
		},
		set: func(c *Config, value string) error {
			n, err := strconv.Atoi(value)
			info := confInfos[p]
			switch {
			case (err != nil || n < 0 || n > 1) && info.max == 1:
				return fmt.Errorf("%q, want 0 or 1", value)
			case err != nil || int64(n) < int64(info.min) || int64(n) > int64(info.max):
				return fmt.Errorf("%q, want a number from %d to %d", value, info.min, info.max)
			}
			c.conf = maps.Clone(c.conf) // configurations are copied by value
			if c.conf == nil {
				c.conf = make(map[confKey]int32)
			}
			c.conf[key] = int32(n)
			if device == "all" && p == confRouteLocalnet {
				c.RouteLocalnet = n == 1
			}
			return nil
		},
		now: func(h *Host) (string, error) {
			v := h.confOf(device)
			if v == nil {
				return "", fmt.Errorf("stack: %s: there is no device %q", h.name, device)
			}
			return strconv.Itoa(int(v[p])), nil
		},
		apply: func(h *Host) error {
			if h.confOf(device) == nil {
				return fmt.Errorf("stack: %s: there is no device %q", h.name, device)
			}
			h.applyConf(key)
			return nil
		},
	}
}
