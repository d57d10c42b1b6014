package virtual

import (
	"path"
	"reflect"
	"runtime"
	"strings"
)

// goroutine is one of a dump of the runtime.
type goroutine struct {
	id      string // "goroutine 7"
	waits   string // what it waits for, in the runtime's words: "chan receive"
	bubble  string // "synctest bubble 3", empty outside of bubbles
	durable bool   // it waits for something of its bubble
	frames  []frame
	created frame // the go statement
}

type frame struct {
	function string // without arguments
	file     string // with the line
}

// dump returns all goroutines of the process.
func dump() []goroutine {
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size >= 64<<20 {
			return parseDump(string(buf[:n]))
		}
	}
}

func parseDump(text string) []goroutine {
	var list []goroutine
	for block := range strings.SplitSeq(text, "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		id, state, ok := strings.Cut(strings.TrimSuffix(lines[0], "]:"), " [")
		if !ok {
			continue
		}
		g := goroutine{id: id}
		for i, word := range strings.Split(state, ", ") {
			switch {
			case i == 0:
				g.waits, g.durable = strings.CutSuffix(word, " (durable)")
			case strings.HasPrefix(word, "synctest bubble"):
				g.bubble = word
			}
		}
		for i := 1; i+1 < len(lines); i += 2 {
			f := frame{function: lines[i], file: place(lines[i+1])}
			if by, ok := strings.CutPrefix(f.function, "created by "); ok {
				f.function, _, _ = strings.Cut(by, " in goroutine ")
				g.created = f
				continue
			}
			if paren := strings.LastIndexByte(f.function, '('); paren > 0 {
				f.function = f.function[:paren]
			}
			g.frames = append(g.frames, f)
		}
		list = append(list, g)
	}
	return list
}

// place takes the offset off a line of a trace.
func place(line string) string {
	file, _, _ := strings.Cut(strings.TrimSpace(line), " +0x")
	return file
}

// pkg returns the import path of the frame's package.
func (f frame) pkg() string {
	dir, last := path.Split(f.function)
	name, _, _ := strings.Cut(last, ".")
	return dir + name
}

const (
	module = "github.com/podwire/podwire/"
	driver = module + "link.(*Driver)."
)

// own reports whether the frame is podwire's and not its user's. Tests of
// podwire are users too.
func (f frame) own() bool {
	if !strings.HasPrefix(f.function, module) || strings.Contains(f.file, "_test.go:") {
		return false
	}
	switch top, _, _ := strings.Cut(strings.TrimPrefix(f.pkg(), module), "/"); top {
	case "link", "stack", "overlay", "kube", "pcap", "emu", "topo", "bench":
		return true
	}
	return false
}

// below reports whether the frame is of what podwire stands on.
func (f frame) below() bool {
	return f.standard() || strings.HasPrefix(f.function, "gvisor.dev/gvisor/") || strings.HasPrefix(f.function, "golang.org/x/sync/")
}

// standardFiles is where this binary says that the files of the standard library
// are: a directory, or nothing if it was built with -trimpath.
var standardFiles = func() string {
	pc := reflect.ValueOf(strings.Clone).Pointer()
	file, _ := runtime.FuncForPC(pc).FileLine(pc)
	return strings.TrimSuffix(file, "strings/clone.go")
}()

// standard reports whether the frame is of the standard library: those packages
// have no dot in the first element of their path, and are not main.
func (f frame) standard() bool {
	first, _, _ := strings.Cut(f.pkg(), "/")
	if strings.Contains(first, ".") || first == "main" || first == "command-line-arguments" {
		return false
	}
	file, ok := strings.CutPrefix(f.file, standardFiles)
	return ok && (strings.HasPrefix(file, f.pkg()+"/") || strings.HasPrefix(file, "runtime/")) // of the runtime are some of others' functions
}

// user returns the first frame that is neither podwire's nor of what that stands
// on: what to look at.
func (g *goroutine) user() (frame, bool) {
	for _, f := range g.frames {
		if !f.own() && !f.below() {
			return f, true
		}
	}
	return frame{}, false
}

// within reports whether the goroutine is in a method of the driver.
func (g *goroutine) within(method string) bool {
	for _, f := range g.frames {
		if f.function == driver+method {
			return true
		}
	}
	return false
}
