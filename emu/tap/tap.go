// Package tap makes TAP devices: Ethernet devices of this machine's kernel whose
// cable ends in a program.
//
//	dev, err := tap.Open(tap.Config{Name: "pw0", MTU: 1500, Addr: netip.MustParsePrefix("192.168.56.250/24")})
//	n, err := dev.Read(frame) // what the kernel sends out of pw0
//
// It works on Linux, for root and for whoever has CAP_NET_ADMIN. A device that
// is there already, such as one of `ip tuntap add pw0 mode tap user $USER`, needs
// neither.
//
// Frames are whole: a TAP device without IFF_VNET_HDR offers no offloads (tun.c,
// tun_net_fix_features), so that the kernel has computed every checksum and cut
// every segment before it hands a frame over.
package tap

import (
	"fmt"
	"io"
	"net/netip"
)

// Config describes a device as this machine's kernel is to have it.
type Config struct {
	// Name is that of the device, at most 15 bytes.
	Name string

	// MTU of the device. If zero, the kernel's default of 1500.
	MTU int

	// Addr is the kernel's address on the device and the subnet there. If zero,
	// the device gets none.
	Addr netip.Prefix

	// Routes are the kernel's routes over the device.
	Routes []Route

	// Netns is the network namespace to make the device in: a name, as `ip netns`
	// has it, or a path such as /proc/PID/ns/net. If empty, that of the thread
	// that calls Open. Another namespace needs CAP_SYS_ADMIN.
	Netns string
}

// A Route leads to Dst by way of Via.
type Route struct {
	Dst netip.Prefix
	Via netip.Addr
}

// A Device is an open TAP device. Read returns one Ethernet frame that the
// kernel sent, Write hands one to it; each may be called by one goroutine at a
// time. Close removes the device, unless it was there before Open.
type Device struct {
	io.ReadWriteCloser

	// Name is the device's name.
	Name string

	// Existing says that the device was there before: then nothing was
	// configured, and Close leaves it.
	Existing bool
}

// Open makes a device, configures it and sets it up. One of that name that
// exists is taken as it is, if it is a TAP device that nobody has open.
func Open(cfg Config) (*Device, error) {
	if err := checkName(cfg.Name); err != nil {
		return nil, err
	}
	return open(cfg)
}

// checkName wants a name that the kernel accepts as it is (dev_valid_name): a
// '%' would have it pick a number.
func checkName(name string) error {
	const most = 15 // IFNAMSIZ - 1
	bad := name == "" || len(name) > most || name == "." || name == ".."
	for _, c := range []byte(name) {
		bad = bad || c <= ' ' || c == '/' || c == ':' || c == '%' || c >= 0x7f
	}
	if bad {
		return fmt.Errorf("tap: device name %q, want 1 to %d letters, digits, dots, dashes or underscores", name, most)
	}
	return nil
}
