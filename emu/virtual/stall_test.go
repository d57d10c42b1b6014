package virtual_test

import (
	"bytes"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
)

// stalled runs f with a lab of two pods and returns what the watchdog says when f
// makes virtual time stand still; then it calls free.
func stalled(t *testing.T, free func(), f func(lab *emu.Lab)) string {
	t.Helper()
	var out report
	var beat atomic.Uint64
	var stuck atomic.Bool // or soon
	stop := virtual.Watch(&out, 200*time.Millisecond, func() uint64 {
		if stuck.Load() {
			return 0
		}
		return beat.Add(1)
	})
	defer stop()
	freed := make(chan struct{})
	go func() {
		defer close(freed)
		for out.String() == "" {
			time.Sleep(time.Millisecond) // real time: what is tested needs it
		}
		free()
	}()
	err := virtual.Run(func(settle func()) error {
		lab, err := emu.New(emu.Config{Nodes: 2, Settle: settle})
		if err != nil {
			return err
		}
		defer lab.Close()
		web, err := lab.AddPod(emu.PodConfig{Name: "web", Node: "node2"})
		if err != nil {
			return err
		}
		ln, err := web.Listen("tcp", ":80") // with it come gVisor's goroutines
		if err != nil {
			return err
		}
		defer ln.Close()
		stuck.Store(true)
		f(lab)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	<-freed
	return out.String()
}

// wantReport checks that a report names one goroutine, where it waits, and
// nothing of what is below.
func wantReport(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("report lacks %q:\n%s", w, got)
		}
	}
	for _, noise := range []string{"gvisor", "link.(*Driver).loop", "sema.go", "testing.go"} {
		if strings.Contains(got, noise) {
			t.Errorf("report has %q:\n%s", noise, got)
		}
	}
	if n := len(regexp.MustCompile(`(?m)^goroutine \d+`).FindAllString(got, -1)); n != 1 {
		t.Errorf("report names %d goroutines, want 1:\n%s", n, got)
	}
	if n := strings.Count(got, "podwire: virtual time has stood still"); n != 1 {
		t.Errorf("%d reports, want 1:\n%s", n, got)
	}
}

func TestReportOfMutex(t *testing.T) {
	var mu sync.Mutex
	mu.Lock()
	got := stalled(t, mu.Unlock, func(lab *emu.Lab) {
		lab.Go(func() { takesMutex(&mu) })
		lab.Sleep(time.Second)
	})
	wantReport(t, got, "waits for a sync.Mutex\n", "in virtual_test.takesMutex", "stall_test.go:", "started by Lab.Go or Driver.Go with virtual_test.TestReportOfMutex")
}

//go:noinline
func takesMutex(mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
}

func TestReportOfChannelOutside(t *testing.T) {
	c := make(chan int)
	got := stalled(t, func() { close(c) }, func(lab *emu.Lab) {
		var done sync.WaitGroup
		done.Go(func() { receives(c) })
		done.Wait()
	})
	wantReport(t, got, "waits to receive from a channel that was made outside of the lab's time", "in virtual_test.receives", "started by sync.(*WaitGroup).Go")
}

//go:noinline
func receives(c chan int) { <-c }

func TestReportOfPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := stalled(t, func() { w.Close() }, func(lab *emu.Lab) { readsFile(r) })
	want := "waits for a file, a pipe or the machine's network"
	if runtime.GOOS == "windows" {
		want = "is in a system call"
	}
	wantReport(t, got, want, "in virtual_test.readsFile", "the first goroutine of the lab's time")
}

//go:noinline
func readsFile(f *os.File) { f.Read(make([]byte, 1)) }

// A goroutine that waits within Do keeps the driver, and with it all others, from
// their lock. It is the one to name, not them.
func TestReportOfWaitWithinDo(t *testing.T) {
	var mu sync.Mutex
	mu.Lock()
	got := stalled(t, mu.Unlock, func(lab *emu.Lab) {
		lab.Go(func() { lab.Driver().Do(func() { takesMutex(&mu) }) })
		lab.Sleep(time.Second)
	})
	wantReport(t, got, "with the driver's lock held", "in virtual_test.takesMutex")
}

// A lab in which everybody waits for everybody ends with an error that names
// them; nothing else could end it.
func TestDeadlockIsAnError(t *testing.T) {
	err := virtual.Run(func(settle func()) error {
		lab, err := emu.New(emu.Config{Nodes: 2, Settle: settle})
		if err != nil {
			return err
		}
		c := make(chan int)
		lab.Go(func() { receives(c) })
		lab.Sleep(time.Second)
		receives(c)
		return lab.Close()
	})
	if err == nil {
		t.Fatal("no error, want one of a deadlock")
	}
	for _, want := range []string{
		"virtual: deadlock: all goroutines in bubble are blocked. No event is left", "in virtual_test.receives",
		"waits to receive from a channel\n", "the first goroutine of the lab's time", "started by Lab.Go or Driver.Go with virtual_test.TestDeadlockIsAnError",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "gvisor") || strings.Contains(err.Error(), "(*Driver).loop") {
		t.Errorf("error has noise:\n%v", err)
	}
}

type report struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *report) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}
