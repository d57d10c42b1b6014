package wireguard

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/podwire/podwire/link"
)

// wireguardGo is the reference implementation in Go, in real time, with a device
// of ours as its peer.
type wireguardGo struct {
	tun  *tuntest.ChannelTUN
	ours *Device
	drv  *link.Driver
	got  chan string // delivered by ours
	psk  Key
}

var (
	oursPod   = netip.MustParseAddr("10.244.1.2")
	theirsPod = netip.MustParseAddr("10.244.2.2")
)

func newWireguardGo(t *testing.T, psk Key) *wireguardGo {
	t.Helper()
	w := &wireguardGo{tun: tuntest.NewChannelTUN(), drv: link.NewDriver(link.DriverConfig{}), got: make(chan string, 16), psk: psk}
	t.Cleanup(w.drv.Close)
	binds := bindtest.NewChannelBinds()
	receive, _, err := binds[1].Open(0)
	must(t, err)
	t.Cleanup(func() { binds[1].Close() })
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	private, theirPrivate := NewPrivateKey(rng), NewPrivateKey(rng)
	theirAddr := netip.MustParseAddrPort("127.0.0.1:2") // what the channel calls the other end
	w.drv.Do(func() {
		w.ours, err = New(Config{
			Driver: w.drv, PrivateKey: private, Rand: rng, MTU: 1420,
			Send: func(to netip.AddrPort, _ byte, f *link.Frame) {
				ep, err := binds[1].ParseEndpoint(to.String())
				if err == nil {
					err = binds[1].Send([][]byte{f.Bytes()}, ep)
				}
				if err != nil && !w.drv.Closed() {
					t.Errorf("send to %v: %v", to, err)
				}
				f.Release()
			},
			Deliver: func(f *link.Frame, _ byte) {
				w.got <- string(f.Bytes()[20:])
				f.Release()
			},
		})
		must(t, err)
		must(t, w.ours.AddPeer(PeerConfig{
			PublicKey: theirPrivate.Public(), PresharedKey: psk, Endpoint: theirAddr,
			AllowedIPs: []netip.Prefix{netip.PrefixFrom(theirsPod, 32)},
		}))
	})
	for _, f := range receive {
		go w.pump(f)
	}
	theirs := device.NewDevice(w.tun.TUN(), binds[0], device.NewLogger(device.LogLevelSilent, ""))
	t.Cleanup(theirs.Close)
	must(t, theirs.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\npreshared_key=%s\nallowed_ip=%s/32\nendpoint=127.0.0.1:1\n",
		hexOf(theirPrivate), hexOf(w.ours.PublicKey()), hexOf(psk), oursPod)))
	must(t, theirs.Up())
	return w
}

func hexOf(k Key) string { return hex.EncodeToString(k[:]) }

// pump hands what the other end sends to our device.
func (w *wireguardGo) pump(receive conn.ReceiveFunc) {
	buf, size, ep := [][]byte{make([]byte, 1<<16)}, make([]int, 1), make([]conn.Endpoint, 1)
	for {
		if _, err := receive(buf, size, ep); err != nil {
			return
		}
		from := netip.MustParseAddrPort(ep[0].DstToString())
		w.drv.Do(func() {
			f := w.drv.NewFrame(size[0])
			copy(f.Bytes(), buf[0])
			w.ours.Receive(from, 0, f)
		})
	}
}

func (w *wireguardGo) toThem(t *testing.T, text string) {
	t.Helper()
	b := packet(oursPod, theirsPod, text)
	w.drv.Do(func() {
		f := w.drv.NewFrame(len(b))
		copy(f.Bytes(), b)
		if !w.ours.Transmit(f) {
			t.Error("no peer")
		}
	})
	select {
	case got := <-w.tun.Inbound:
		if string(got) != string(b) {
			t.Errorf("they got %q, want %q", got, b)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("they got nothing")
	}
}

func (w *wireguardGo) toUs(t *testing.T, text string) {
	t.Helper()
	w.tun.Outbound <- packet(theirsPod, oursPod, text)
	select {
	case got := <-w.got:
		if got != text {
			t.Errorf("we got %q, want %q", got, text)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("we got nothing")
	}
}

// The reference implementation takes our handshakes and data, and we take its,
// whoever begins, with and without a preshared key, up to a full packet.
func TestInteropWithWireguardGo(t *testing.T) {
	full := strings.Repeat("x", 1400)
	for name, psk := range map[string]Key{"no PSK": {}, "PSK": {1, 2, 3}} {
		t.Run(name+", we begin", func(t *testing.T) {
			w := newWireguardGo(t, psk)
			for _, s := range []string{"one", "", full} {
				w.toThem(t, s)
				w.toUs(t, s)
			}
		})
		t.Run(name+", they begin", func(t *testing.T) {
			w := newWireguardGo(t, psk)
			for _, s := range []string{"one", "", full} {
				w.toUs(t, s)
				w.toThem(t, s)
			}
		})
	}
}
