//go:build !race

// The browser runs none of our Go: the race detector would have nothing to watch.

package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/podwire/podwire/bench/faceoff"
	"github.com/podwire/podwire/bench/report"
)

// chromium returns the browser's path, or ends the test: a page that nobody has
// opened must not pass for one that works, unless somebody has asked for that.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("PODWIRE_NO_CHROMIUM") == "1" {
		t.Skip("no chromium, and PODWIRE_NO_CHROMIUM=1 says that this is all right")
	}
	t.Fatal("these tests open the report in a browser: apt-get install chromium, or set PODWIRE_NO_CHROMIUM=1 to skip them")
	return ""
}

// browser starts one for all subtests.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return ctx
}

// A tab is the report in a window of a size, and what it complained of.
type tab struct {
	t    *testing.T
	ctx  context.Context
	stop func() // gives the page up

	mu    sync.Mutex // guards wrong
	wrong []string   // console errors, exceptions, requests
}

// view is how a tab looks at the page.
type view struct {
	width, height int64
	scheme        string // light or dark
}

// open opens a page and fails the test at its end if the page complained or asked
// the network for anything.
func open(t *testing.T, parent context.Context, path string, v view) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	ctx, stop := context.WithTimeout(ctx, 3*time.Minute)
	b := &tab{t: t, ctx: ctx, stop: stop}
	t.Cleanup(func() {
		stop()
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range b.wrong {
			t.Error(s)
		}
	})
	url := "file://" + path
	if err := chromedp.Listen(ctx, func(event any) { b.listen(event, url) }); err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: v.width, Height: v.height, DeviceScaleFactor: 1, Mobile: v.width < 640})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: v.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	do(b, chromedp.Navigate(url))
	do(b, chromedp.WaitReady(chromedp.CSS("html[data-ready=true]")))
	return b
}

// listen notes what no report may do.
func (b *tab) listen(event any, url string) {
	wrong := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		wrong = "exception: " + e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			wrong += ": " + x.Description
		}
		defer b.stop() // what the test waits for may never come
	case *runtime.EventConsoleAPICalled:
		wrong = fmt.Sprintf("console.%s is called", e.Type)
	case *log.EventEntryAdded:
		wrong = fmt.Sprintf("log: %s: %s", e.Entry.Level, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if got := e.Request.URL; got != url && !strings.HasPrefix(got, "blob:") {
			wrong = "the page asks for " + got
		}
	}
	if wrong != "" {
		b.mu.Lock()
		b.wrong = append(b.wrong, wrong)
		b.mu.Unlock()
	}
}

// do runs an action in the tab.
func do[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// call sends a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what a JavaScript expression is in the page.
func eval[T any](b *tab, js string) T {
	b.t.Helper()
	return do(b, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// want fails unless an expression has this value.
func want[T comparable](b *tab, what, js string, want T) {
	b.t.Helper()
	if got := eval[T](b, js); got != want {
		b.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// shoot leaves a picture of the whole page behind, with go test -artifacts. It
// takes seconds, so nobody else waits for it.
func (b *tab) shoot(name string) {
	b.t.Helper()
	if flag.Lookup("test.artifacts").Value.String() != "true" {
		return
	}
	b.keep(name+".png", do(b, chromedp.FullScreenshot(100)))
}

func (b *tab) keep(name string, content []byte) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name), content, 0o666); err != nil {
		b.t.Fatal(err)
	}
}

// file writes the report of a result where a browser can open it.
func file(t *testing.T, r *faceoff.Result) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Write(f, r); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	desk  = view{1280, 900, "light"}
	night = view{1280, 900, "dark"}
	phone = view{400, 800, "light"}
	late  = view{400, 800, "dark"}
)

func TestInBrowser(t *testing.T) {
	parent := browser(t)
	type check struct {
		name  string
		view  view
		check func(*tab, *faceoff.Result)
	}
	r := fixture(t)
	path := file(t, r)
	for _, test := range []check{
		{"desk", desk, looksRight},
		{"night", night, looksRight},
		{"phone", phone, looksRight},
		{"charts", desk, chartsHaveData},
		{"path", desk, pathIsWalked},
	} {
		t.Run(test.name, func(t *testing.T) { test.check(open(t, parent, path, test.view), r) })
	}
	// The rest is quicker where there is less of everything.
	r = few(r)
	path = file(t, r)
	for _, test := range []check{
		{"accessible", desk, accessible},
		{"accessible dark phone", late, accessible},
		{"links", desk, linksLead},
		{"keys", desk, keysDo},
		{"toggles", desk, togglesDo},
		{"colours", night, coloursSwitch},
		{"download", desk, resultIsDownloaded},
		{"save", desk, chartIsSaved},
		{"print", night, prints},
	} {
		t.Run(test.name, func(t *testing.T) { test.check(open(t, parent, path, test.view), r) })
	}
	t.Run("hostile", func(t *testing.T) {
		bad := hostile(t)
		b := open(t, parent, file(t, bad), desk)
		want(b, "the script of a name ran", `"owned" in window`, false)
		want(b, "title", `document.querySelector("h1").textContent`, bad.Scenario.Name)
		want(b, "markup of the result's", `document.querySelectorAll("img, b.x").length`, 0)
	})
	t.Run("empty", func(t *testing.T) {
		b := open(t, parent, file(t, &faceoff.Result{}), phone)
		want(b, "horizontal overflow", `document.documentElement.scrollWidth - innerWidth`, 0)
	})
	t.Run("wide", func(t *testing.T) {
		b := open(t, parent, file(t, crowded(r)), desk)
		b.shoot("crowded")
		want(b, "horizontal overflow", `document.documentElement.scrollWidth - innerWidth`, 0)
		want(b, "lines from the router to its segments", `document.querySelectorAll("#net > svg path").length`, 2)
	})
}

// looksRight checks what must hold at every width and in all colours, and leaves
// a picture behind.
func looksRight(b *tab, r *faceoff.Result) {
	const outside = `JSON.stringify([...document.querySelectorAll("main *")].filter((e) => {
		const r = e.getBoundingClientRect();
		return r.width > 1 && (r.right > innerWidth + 1 || r.left < -1) && !e.closest(".scroll, .sr, thead");
	}).slice(0, 5).map((e) => e.outerHTML.slice(0, 120)))`
	b.shoot(filepath.Base(b.t.Name()))
	want(b, "horizontal overflow", `document.documentElement.scrollWidth - innerWidth`, 0)
	want(b, "elements beside the window", outside, "[]")
	openTables(b)
	want(b, "horizontal overflow with all tables open", `document.documentElement.scrollWidth - innerWidth`, 0)
}

func openTables(b *tab) {
	eval[int](b, `(() => { for (const d of document.querySelectorAll("details")) d.open = true; return 0; })()`)
}

// accessible asks axe-core what people who cannot see, or not well, or who use no
// mouse would stumble over.
func accessible(b *tab, _ *faceoff.Result) {
	openTables(b)
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		b.t.Fatal(err)
	}
	eval[bool](b, string(axe)+"; true")
	found := eval[[]string](b, `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations.map((v) =>
		v.impact + ": " + v.help + " (" + v.id + "): " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? "")).join(" | ")))`)
	for _, s := range found {
		b.t.Error("axe: ", s)
	}
}

// chartsHaveData counts marks: as many as the result has figures.
func chartsHaveData(b *tab, r *faceoff.Result) {
	for _, m := range r.Measures {
		values := 0
		for _, v := range m.Values {
			if v.Value != nil {
				values++
			}
		}
		want(b, "bars of "+m.ID, fmt.Sprintf(`document.querySelectorAll("[id='m-%s'] g[data-mark=bar] rect").length`, report.Slug(m.ID)), values)
		want(b, "designs named by "+m.ID, fmt.Sprintf(`document.querySelectorAll("[id='m-%s'] g[data-mark='y-axis tick label'] text").length`, report.Slug(m.ID)), len(m.Values))
	}
	curves, layers := 0, 0
	for _, s := range r.Series {
		if len(s.Points) > 0 {
			curves++
		}
	}
	for _, d := range r.Designs {
		if d.Packet != nil {
			layers += len(d.Packet.Layers)
		}
	}
	if len(r.Measures) == 0 || curves == 0 || layers == 0 || len(r.Calibration) == 0 {
		b.t.Fatal("the fixture lacks something that a chart is made of")
	}
	want(b, "curves", `document.querySelectorAll("#time g[data-mark=line] path").length`, curves)
	want(b, "curves that go nowhere", `[...document.querySelectorAll("#time g[data-mark=line] path")].filter((p) => p.getTotalLength() < 100).length`, 0)
	want(b, "layers", `document.querySelectorAll("#headers .layer").length`, layers)
	want(b, "dots of the calibration", `document.querySelectorAll("#errors g[data-mark=dot] :is(circle, path)").length`, len(r.Calibration))
	want(b, "machines", `document.querySelectorAll("#net .machine").length`, len(r.Topology.Machines))
	want(b, "pods", `document.querySelectorAll("#net .pods li").length`, len(r.Topology.Pods))
	want(b, "rows of the overview", `document.querySelectorAll("#overview-table tbody tr").length`, len(r.Designs))
	// To scale: as wide as it has bytes, for all layers but payloads, which are torn.
	want(b, "layers that are not to scale", `(() => {
		const list = [...document.querySelectorAll("#headers .layer")].map((e) => ({...d3.select(e).datum(), w: Number(e.querySelector("rect").getAttribute("width")) + 1})).filter((x) => x.l.role !== "payload");
		const one = list[0].w / list[0].l.bytes;
		return list.filter((x) => Math.abs(x.w / x.l.bytes - one) > .01 * one).length;
	})()`, 0)
}

// linksLead follows every link of the list of sections.
func linksLead(b *tab, _ *faceoff.Result) {
	want(b, "links to nowhere", `[...document.querySelectorAll("a[href^='#']")].filter((a) => !document.getElementById(a.hash.slice(1))).length`, 0)
	if n := eval[int](b, `document.querySelectorAll("nav a").length`); n < 8 {
		b.t.Errorf("%d links to sections, want 8", n)
	}
	want(b, "links that do not bring their section up", `(() => [...document.querySelectorAll("nav a")].filter((a) => {
		a.click();
		const top = document.querySelector(a.hash).getBoundingClientRect().top;
		return Math.abs(top) > 120 && scrollY + innerHeight < document.documentElement.scrollHeight - 2;
	}).length)()`, 0)
}

// pathIsWalked goes along the way of one packet under each design.
func pathIsWalked(b *tab, r *faceoff.Result) {
	const head = `document.querySelector("#walk-hop b").textContent`
	for _, d := range r.Designs {
		var way []string
		for _, h := range d.Path {
			if h.Of != "arp" {
				way = append(way, strings.TrimPrefix(h.Machine+"/"+h.Device, "/"))
			}
		}
		if len(way) == 0 {
			continue
		}
		eval[bool](b, fmt.Sprintf(`(() => { const s = document.getElementById("walk-design"); s.value = %q; s.dispatchEvent(new Event("change")); return true; })()`, d.Name))
		want(b, "points under "+d.Name, `document.querySelectorAll("#walk .stop").length`, len(way))
		got := eval[[]string](b, `(() => {
			const seen = [], next = document.getElementById("walk-next");
			for (;;) {
				seen.push(document.querySelector("#walk-hop b").textContent.replace(/^.*?: /, ""));
				if (next.disabled) return seen;
				next.click();
			}
		})()`)
		if !slices.Equal(got, way) {
			b.t.Errorf("the way under %s is %v, want %v", d.Name, got, way)
		}
	}
	do(b, chromedp.Click(chromedp.CSS("#walk .stop")))
	if got := eval[string](b, head); !strings.HasPrefix(got, "Request 1/") {
		b.t.Errorf("after a click on the first point: %q", got)
	}
}

// keysDo uses nothing but the keyboard.
func keysDo(b *tab, r *faceoff.Result) {
	const focus = `(document.activeElement.id || document.activeElement.className.baseVal || document.activeElement.textContent)`
	do(b, chromedp.KeyEvent(kb.Tab))
	want(b, "the first stop of Tab", `document.activeElement.className`, "skip")
	do(b, chromedp.KeyEvent(kb.Enter))
	do(b, chromedp.Focus(chromedp.CSS("#walk .stop")))
	do(b, chromedp.KeyEvent(kb.ArrowRight))
	do(b, chromedp.KeyEvent(kb.ArrowRight))
	if got := eval[string](b, `document.activeElement.getAttribute("aria-label")`); !strings.HasPrefix(got, "Request, point 3 of") {
		b.t.Errorf("two steps on, focus is on %q", got)
	}
	do(b, chromedp.KeyEvent(kb.End))
	want(b, "Next at the end", `document.getElementById("walk-next").disabled`, true)

	do(b, chromedp.Focus(chromedp.CSS("#headers .layer")))
	first := eval[string](b, `document.getElementById("headers-tell").textContent`)
	do(b, chromedp.KeyEvent(kb.ArrowRight))
	second := eval[string](b, `document.getElementById("headers-tell").textContent`)
	do(b, chromedp.KeyEvent(kb.ArrowDown))
	third := eval[string](b, `document.getElementById("headers-tell").textContent`)
	if first == second || second == third || !strings.Contains(first, "Ethernet") {
		b.t.Errorf("arrow keys among layers tell %q, %q, %q", first, second, third)
	}
	want(b, "stops of Tab among layers", `document.querySelectorAll("#headers .layer[tabindex='0']").length`, 1)

	stops, seen := 0, map[string]bool{}
	do(b, chromedp.Focus(chromedp.CSS(".mark")))
	for range 24 {
		do(b, chromedp.KeyEvent(kb.Tab))
		stops++
		seen[eval[string](b, focus)] = true
	}
	for _, id := range []string{"highlight", "theme"} {
		if !seen[id] {
			b.t.Errorf("Tab does not reach %s within %d steps: %v", id, stops, seen)
		}
	}
}

// togglesDo uses what can be opened, picked, sorted and hidden.
func togglesDo(b *tab, r *faceoff.Result) {
	want(b, "tables without rows", `[...document.querySelectorAll("details.table")].filter((d) => {
		d.querySelector("summary").click();
		return !d.open || d.querySelectorAll("tbody tr, ol li, pre").length === 0 || d.getBoundingClientRect().height < 50;
	}).length`, 0)
	want(b, "charts without a table", `[...document.querySelectorAll(".chart")].filter((f) => !f.querySelector("details.table")).length`, 0)

	all := eval[int](b, `document.querySelector("#time g[data-mark=line]").closest("svg").querySelectorAll("g[data-mark=line] path").length`)
	do(b, chromedp.Click(chromedp.CSS("#time .toggles input")))
	want(b, "curves when one is hidden", `document.querySelector("#time svg g[data-mark=line]").closest("svg").querySelectorAll("g[data-mark=line] path").length`, all-1)
	eval[bool](b, `document.querySelector("#time .toggles button:last-of-type").click() ?? true`)
	want(b, "curves when all are hidden", `document.querySelectorAll("#time g[data-mark=line] path").length`, 0)
	eval[bool](b, `document.querySelector("#time .toggles button").click() ?? true`)

	design := r.Designs[1].Name
	do(b, chromedp.Click(chromedp.CSS(fmt.Sprintf("[data-pick=%q]", design))))
	want(b, "picked", `document.getElementById("highlight").value`, design)
	want(b, "marks of other designs that are picked", fmt.Sprintf(`document.querySelectorAll('.on:not([data-design=%q])').length`, design), 0)
	if n := eval[int](b, `document.querySelectorAll("svg .on").length`); n < len(r.Measures) {
		b.t.Errorf("%d marks of %s are picked, want one in each chart", n, design)
	}
	b.shoot("picked")

	do(b, chromedp.Click(chromedp.CSS("[data-sort='0']")))
	want(b, "the first column sorted", `(() => {
		const v = [...document.querySelectorAll("#overview-table tbody tr")].map((tr) => Number(tr.cells[1].dataset.value));
		return v.every((x, i) => !i || v[i - 1] <= x);
	})()`, true)
	want(b, "what a screen reader hears of the order", `document.querySelector("#overview-table th:nth-child(2)").getAttribute("aria-sort")`, "ascending")
}

// coloursSwitch goes around the switch for light and dark.
func coloursSwitch(b *tab, _ *faceoff.Result) {
	const color = `getComputedStyle(document.body).backgroundColor`
	dark := eval[string](b, color)
	do(b, chromedp.Click(chromedp.CSS("#theme")))
	light := eval[string](b, color)
	if light == dark {
		b.t.Errorf("light and dark are both %s", light)
	}
	do(b, chromedp.Click(chromedp.CSS("#theme")))
	want(b, "colour of dark", color, dark)
	do(b, chromedp.Click(chromedp.CSS("#theme")))
	want(b, "colour of the system, which is dark", color, dark)
}

// resultIsDownloaded saves the result and compares it with what was written.
func resultIsDownloaded(b *tab, r *faceoff.Result) {
	got := new(faceoff.Result)
	if err := json.Unmarshal(b.download("#download", report.Slug(r.Scenario.Name)+"-compare.json"), got); err != nil {
		b.t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		b.t.Error("what is downloaded is not the result that the report was written from")
	}
}

// chartIsSaved saves a chart as a file of its own.
func chartIsSaved(b *tab, r *faceoff.Result) {
	svg := b.download("#headers .save", "headers.svg")
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			b.t.Fatalf("the file is not well-formed: %v", err)
		}
	}
	for _, design := range r.Designs {
		if !bytes.Contains(svg, []byte(">"+design.Name+"<")) {
			b.t.Errorf("%s is not in the file", design.Name)
		}
	}
	for _, s := range []string{"var(", "class=", "<style"} {
		if bytes.Contains(svg, []byte(s)) {
			b.t.Errorf("the file has %q, which means nothing outside of the page", s)
		}
	}
}

// Where the picture of README comes from and goes to; see make picture.
var (
	pictureOf = flag.String("of", "", "report of which to save the headers")
	picture   = flag.String("picture", "", "SVG file to save them to")
)

func TestPicture(t *testing.T) {
	if *picture == "" {
		t.Skip("make picture draws it")
	}
	b := open(t, browser(t), *pictureOf, view{1000, 900, "light"})
	if err := os.WriteFile(*picture, b.download("#headers .save", "headers.svg"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// download clicks and returns the file that comes of it.
func (b *tab) download(selector, name string) []byte {
	b.t.Helper()
	dir, yes := b.t.TempDir(), true
	_, err := chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, EventsEnabled: &yes,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	progress := chromedp.BrowserEvents(b.ctx, cdpbrowser.DownloadProgress)
	do(b, chromedp.Click(chromedp.CSS(selector)))
	for e, err := range progress {
		if err != nil {
			b.t.Fatal(err)
		}
		if e.State != cdpbrowser.DownloadProgressStateInProgress {
			break
		}
	}
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return content
}

// prints makes a PDF, in light colours though the screen is dark.
func prints(b *tab, _ *faceoff.Result) {
	pdf := do(b, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperA4), chromedp.PDFPrintBackground()))
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) || len(pdf) < 50_000 {
		b.t.Errorf("printed %d bytes that begin with %.8q", len(pdf), pdf)
	}
	b.keep("print.pdf", pdf)
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	want(b, "paper", `getComputedStyle(document.documentElement).colorScheme`, "light")
	want(b, "the bar at the top", `getComputedStyle(document.querySelector(".top")).display`, "none")
}
