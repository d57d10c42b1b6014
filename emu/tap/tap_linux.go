package tap

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func open(cfg Config) (dev *Device, err error) {
	if cfg.Netns == "" {
		return openHere(cfg)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, for it is in another namespace
		if err = enter(cfg.Netns); err == nil {
			dev, err = openHere(cfg)
		}
	}()
	<-done
	return dev, err
}

// enter moves the calling thread to a network namespace.
func enter(netns string) error {
	path := netns
	if !strings.Contains(path, "/") {
		path = filepath.Join("/var/run/netns", path)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("tap: network namespace %s: %w; hint: `ip netns add NAME` makes one, `ip netns` lists them", netns, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("tap: network namespace %s: %w%s", netns, err, hint(err))
	}
	return nil
}

// SetCarrier tells the kernel whether the cable is plugged in: without a carrier
// (NO-CARRIER in `ip link`) it sends nothing. Kernels before 4.20 cannot be told.
func (d *Device) SetCarrier(up bool) error {
	conn, err := d.ReadWriteCloser.(*water.Interface).ReadWriteCloser.(*os.File).SyscallConn()
	if err != nil {
		return err
	}
	carrier := 0
	if up {
		carrier = 1
	}
	var told error
	err = conn.Control(func(fd uintptr) { told = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, carrier) })
	return errors.Join(err, told)
}

// openHere is open in the namespace of the calling thread, which the goroutine
// does not leave before the device is made.
func openHere(cfg Config) (*Device, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := netlink.LinkByName(cfg.Name)
	existing := err == nil
	if existing && before.Type() != "tuntap" {
		return nil, fmt.Errorf("tap: %s: found a %s device of that name, want a name that is free", cfg.Name, before.Type())
	}
	params := water.PlatformSpecificParams{Name: cfg.Name, Persist: existing}
	conn, err := water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: params})
	if err != nil {
		return nil, fmt.Errorf("tap: %s: %w%s", cfg.Name, err, hint(err))
	}
	d := &Device{ReadWriteCloser: conn, Name: conn.Name(), Existing: existing}
	if existing {
		return d, nil
	}
	if err := configure(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("tap: %s: %w%s", cfg.Name, err, hint(err)), conn.Close())
	}
	return d, nil
}

// configure gives a new device what cfg says, and sets it up.
func configure(cfg Config) error {
	dev, err := netlink.LinkByName(cfg.Name)
	if err != nil {
		return err
	}
	if cfg.MTU != 0 {
		if err := netlink.LinkSetMTU(dev, cfg.MTU); err != nil {
			return fmt.Errorf("MTU %d: %w", cfg.MTU, err)
		}
	}
	if cfg.Addr.IsValid() {
		if err := netlink.AddrAdd(dev, &netlink.Addr{IPNet: ipNet(cfg.Addr)}); err != nil {
			return fmt.Errorf("address %v: %w", cfg.Addr, err)
		}
	}
	if err := netlink.LinkSetUp(dev); err != nil {
		return err
	}
	for _, r := range cfg.Routes {
		route := &netlink.Route{LinkIndex: dev.Attrs().Index, Dst: ipNet(r.Dst.Masked()), Gw: r.Via.AsSlice()}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("route to %v by way of %v: %w", r.Dst, r.Via, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// hint says what to do about an error, if that is known.
func hint(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "; hint: it takes root or CAP_NET_ADMIN (sudo podwire ..., or once sudo setcap cap_net_admin+ep podwire), or a device of your own: sudo ip tuntap add NAME mode tap user $USER"
	case errors.Is(err, unix.EBUSY):
		return "; hint: a program has the device open, perhaps another podwire"
	case errors.Is(err, fs.ErrNotExist):
		return "; hint: the kernel has no /dev/net/tun: sudo modprobe tun, or docker run --device /dev/net/tun --cap-add NET_ADMIN"
	case errors.Is(err, unix.EINVAL):
		return "; hint: is there a TUN device of that name?"
	case errors.Is(err, unix.EEXIST):
		return "; hint: this machine has such a route already, want other ranges or a network namespace of its own"
	}
	return ""
}
