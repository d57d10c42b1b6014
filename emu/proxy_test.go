package emu_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

func TestProxySyncDelay(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1, ProxySyncDelay: time.Second}, func(t *testing.T, lab *emutest.Lab) {
		client := lab.Pod("client", "node1")
		lab.Service("web", 80, 8080, 0)
		lab.Sleep(time.Second)
		lab.Pod("web", "node1", 8080)
		lab.Sleep(time.Second - time.Nanosecond)
		if c, err := client.Dial("tcp", "web:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("1 ns before the proxy knows of the endpoint: %v, %v, want connection refused", c, err)
		}
		lab.Sleep(time.Nanosecond)
		if got := client.Get("http://web/hostname"); got != "web" {
			t.Errorf("after the delay: %q, want web", got)
		}
	})
	if _, err := emu.New(emu.Config{ProxySyncDelay: -1}); err == nil || err.Error() != "emu: proxy sync delay -1ns, want 0 or more" {
		t.Errorf("negative delay: %v", err)
	}
}
