package virtual

import (
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// Bubble knows a bubble from outside. The zero value is of one that was not
// entered yet.
type Bubble struct{ name atomic.Pointer[string] }

// Enter is called inside the bubble.
func (b *Bubble) Enter() {
	buf := make([]byte, 256)
	head, _, _ := strings.Cut(string(buf[:runtime.Stack(buf, false)]), "\n")
	if list := parseDump(head); len(list) > 0 {
		b.name.Store(&list[0].bubble)
	}
}

// Deadlock makes an error of what was recovered from synctest.Test, outside the
// bubble, if it is a deadlock: every goroutine of the bubble waits for another and
// none for time. It names those that run code of podwire's user. Of any other
// value, it returns nil.
func (b *Bubble) Deadlock(recovered any) error {
	e, ok := recovered.(error)
	if !ok || !strings.HasPrefix(e.Error(), "deadlock: ") {
		return nil
	}
	var s strings.Builder
	s.WriteString("virtual: " + e.Error())
	var stuck []goroutine
	for _, g := range dump() {
		if _, user := g.user(); user && b.has(&g) {
			stuck = append(stuck, g)
		}
	}
	if len(stuck) > 0 {
		s.WriteString(". No event is left that could wake them:\n")
	}
	describe(&s, stuck)
	return errors.New(strings.TrimRight(s.String(), "\n"))
}

// has reports whether g is of the bubble, or of any if it was not entered.
func (b *Bubble) has(g *goroutine) bool {
	name := b.name.Load()
	return g.bubble != "" && (name == nil || g.bubble == *name)
}

// report names the goroutines that hold up time.
func report(out io.Writer, after time.Duration) {
	culprits, busy := findCulprits(dump())
	w := &strings.Builder{} // one write, for others may write beside it
	defer func() { io.WriteString(out, w.String()) }()
	fmt.Fprintf(w, "podwire: virtual time has stood still for %v. ", after)
	switch {
	case len(culprits) > 0:
		fmt.Fprintf(w, "It goes on when nothing of the lab can run, and is held up by:\n")
		describe(w, culprits)
		fmt.Fprintf(w, "\nWithin a lab in virtual time, goroutines may wait for its sockets, for time, and for channels, sync.WaitGroup and sync.Cond made within; not for a mutex, a file, a process, the machine's network, or a channel made outside.\n")
	case busy:
		fmt.Fprintf(w, "The lab itself is busy: there is endless traffic over cables without latency and rate, or an event at this instant sets off the next.\n")
	default:
		fmt.Fprintf(w, "No goroutine of it is held up: a single step takes long, or the machine is busy with something else.\n")
	}
}

// findCulprits chooses from a dump what holds up bubbles: goroutines that run or
// wait for something outside, and those that wait for anything with the driver's
// lock held. Those that only wait for that lock suffer from it. Busy tells that
// a driver's own loop runs.
func findCulprits(all []goroutine) (culprits []goroutine, busy bool) {
	var suspects []goroutine
	for _, g := range all {
		switch {
		case g.bubble == "":
		case g.within("lock"): // waits for another
		case g.within("Do") && g.durable && !g.within("Sleep"):
			culprits = append(culprits, g)
		case g.durable:
		case g.within("loop"):
			// In an event, as a handler or an observer, it runs code of the user's.
			if _, user := g.user(); user && g.waits != "running" && g.waits != "runnable" {
				culprits = append(culprits, g)
				continue
			}
			busy = busy || g.waits != "sync.Mutex.Lock"
		default:
			if _, user := g.user(); user {
				culprits = append(culprits, g)
			} else if !g.idle() {
				suspects = append(suspects, g)
			}
		}
	}
	if len(culprits) == 0 && !busy {
		culprits = suspects
	}
	return culprits, busy
}

// idle reports whether a goroutine is part of the machinery: of the bubble or of
// gVisor.
func (g *goroutine) idle() bool {
	if g.waits == "synctest.Run" || g.waits == "synctest.Wait" {
		return true
	}
	return strings.HasPrefix(g.created.function, "gvisor.dev/gvisor/")
}

// describe writes what each goroutine waits for, where, and where it comes from.
// Calls of podwire, gVisor and the standard library are left out.
func describe(w io.Writer, list []goroutine) {
	const most = 20
	for i, g := range list {
		if i == most {
			fmt.Fprintf(w, "\n(and %d more)\n", len(list)-most)
			return
		}
		fmt.Fprintf(w, "\n%s %s%s\n", g.id, waiting[g.waits].or(g.waits), g.holding())
		some := false
		for _, f := range g.frames {
			if f.own() || f.below() {
				continue
			}
			some = true
			fmt.Fprintf(w, "\tin %s\n\t\t%s\n", path.Base(f.function), f.file)
		}
		if !some { // nothing but the library's
			for _, f := range g.frames {
				fmt.Fprintf(w, "\tin %s\n\t\t%s\n", path.Base(f.function), f.file)
			}
		}
		fmt.Fprintf(w, "\t%s\n", g.origin())
	}
}

func (g *goroutine) holding() string {
	if !g.durable && (strings.HasPrefix(g.waits, "chan ") || g.waits == "select") {
		return " that was made outside of the lab's time"
	}
	if g.within("Do") || g.within("loop") {
		return ", with the driver's lock held (Driver.Do and events must not wait)"
	}
	return ""
}

// origin says who started a goroutine. Lab.Go is seen by its function: the
// statement is not on record.
func (g *goroutine) origin() string {
	switch last := len(g.frames) - 1; {
	case g.created.function == driver+"Start" && last > 0:
		return "started by Lab.Go or Driver.Go with " + path.Base(g.frames[last-1].function)
	case g.created.function == "testing/synctest.testingSynctestTest":
		return "the first goroutine of the lab's time"
	case g.created.function == "":
		return "not started by another"
	}
	return fmt.Sprintf("started by %s, %s", path.Base(g.created.function), g.created.file)
}

// phrase says in words what the runtime says in short.
type phrase string

func (p phrase) or(short string) string {
	if p == "" {
		return "is in state " + short
	}
	return string(p)
}

var waiting = map[string]phrase{
	"running":                 "runs",
	"runnable":                "runs",
	"chan receive":            "waits to receive from a channel",
	"chan receive (nil chan)": "waits to receive from a nil channel",
	"chan send":               "waits to send on a channel",
	"chan send (nil chan)":    "waits to send on a nil channel",
	"select":                  "waits in a select",
	"select (no cases)":       "waits in a select without cases",
	"sync.Mutex.Lock":         "waits for a sync.Mutex",
	"sync.RWMutex.Lock":       "waits for a sync.RWMutex",
	"sync.RWMutex.RLock":      "waits for a sync.RWMutex",
	"sync.WaitGroup.Wait":     "waits for a sync.WaitGroup",
	"sync.Cond.Wait":          "waits for a sync.Cond",
	"semacquire":              "waits for a lock",
	"IO wait":                 "waits for a file, a pipe or the machine's network",
	"syscall":                 "is in a system call",
	"sleep":                   "sleeps",
}
