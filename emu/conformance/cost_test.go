package conformance

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// A pod that does nothing costs nothing: no goroutine, and in ten seconds not
// one step of the driver more than a lab without pods.
func TestManyIdlePodsCostNothing(t *testing.T) {
	const pods = 100
	empty := stepsOf10s(t, func(*emutest.Lab) {})
	idle := stepsOf10s(t, func(lab *emutest.Lab) {
		lab.Pod("first", "node1") // the first pod of a node brings its bridge
		before := goroutines()
		for i := range pods {
			lab.AddPod(emu.PodConfig{Name: "idle-" + string(rune('a'+i/26)) + string(rune('a'+i%26))})
		}
		lab.Sleep(0)
		for _, stack := range leaked(before) {
			t.Errorf("the pods made a goroutine:\n%s", stack)
		}
		if n := len(lab.Pods()); n != pods+1 {
			t.Fatalf("the lab has %d pods, want %d", n, pods+1)
		}
	})
	if idle != empty {
		t.Errorf("ten seconds took %d steps with %d idle pods, %d without, want no difference", idle, pods, empty)
	}
}

// stepsOf10s counts the driver's steps in ten idle seconds, after a minute in
// which whatever the set-up has begun can end.
func stepsOf10s(t *testing.T, setup func(*emutest.Lab)) (steps uint64) {
	t.Helper()
	emutest.Run(t, emu.Config{Nodes: 2, Seed: 1}, func(t *testing.T, lab *emutest.Lab) {
		setup(lab)
		lab.Sleep(time.Minute)
		before := lab.Driver().Beat()
		lab.Sleep(10 * time.Second)
		steps = lab.Driver().Beat() - before
		lab.Driver().Do(func() {
			if n := lab.Driver().LiveFrames(); n != 0 {
				t.Errorf("%d frames are still owned by somebody in an idle lab, want 0", n)
			}
		})
	})
	return steps
}

// traffic starts all kinds of goroutines that a lab has: HTTP servers with
// connections that are kept open, UDP echoes, pings, TCP processors.
func traffic(t *testing.T, lab *emu.Lab) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	web, err := lab.AddPod(emu.PodConfig{Name: "web", Node: "node2", Ports: ports(8080)})
	must(err)
	client, err := lab.AddPod(emu.PodConfig{Name: "client", Node: "node1"})
	must(err)
	_, err = client.Ping("web", 10*time.Second)
	must(err)
	if got := emutest.Get(t, &client.Machine, "http://"+web.Addr().String()+":8080/hostname"); got != "web" {
		t.Errorf("GET = %q, want web", got)
	}
	_, err = web.ListenPacket("udp", ":53") // left open
	must(err)
	_, err = client.Dial("tcp", web.Addr().String()+":8080") // left open
	must(err)
}

// A lab that is closed leaves no goroutine, in real time.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := goroutines()
	lab, err := emu.New(emu.Config{Nodes: 2, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	traffic(t, lab)
	if len(leaked(before)) < 3 {
		t.Error("hardly a goroutine more while the lab runs than before: this test looks at nothing")
	}
	if err := lab.Close(); err != nil {
		t.Error(err)
	}
	// The last statements of a goroutine may still be running when Close
	// returns, and net/http ends its own in its own time.
	for deadline := time.Now().Add(5 * time.Second); len(leaked(before)) > 0 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	for _, stack := range leaked(before) {
		t.Errorf("left after Close:\n%s", stack)
	}
}

// In virtual time Close leaves none either, and what is left is known exactly
// once the bubble is idle.
func TestCloseLeavesNoGoroutineVirtual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := goroutines()
		lab, err := emu.New(emu.Config{Nodes: 2, Seed: 1, Settle: synctest.Wait})
		if err != nil {
			t.Fatal(err)
		}
		traffic(t, lab)
		if len(leaked(before)) < 3 {
			t.Error("hardly a goroutine more while the lab runs than before: this test looks at nothing")
		}
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for _, stack := range leaked(before) {
			t.Errorf("left after Close:\n%s", stack)
		}
	})
}

// goroutines returns the stacks of those that run code of a lab, by their numbers.
// The runtime's own, which come and go with the garbage, are none of a lab's.
func goroutines() map[string]string {
	list := make(map[string]string)
	buf := make([]byte, 8<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		for _, of := range []string{"github.com/podwire/", "gvisor.dev/", "net/http."} {
			if strings.Contains(stack, of) {
				list[id] = stack
			}
		}
	}
	return list
}

// leaked returns the stacks of goroutines that were not there before.
func leaked(before map[string]string) (stacks []string) {
	for id, stack := range goroutines() {
		if before[id] == "" {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
