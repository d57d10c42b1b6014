package topo

import (
	"fmt"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podwire/podwire/emu"
)

// Validator checks one decoded Kubernetes object as the API server would and
// returns what the server would object to, with Kubernetes field paths.
type Validator func(obj runtime.Object) field.ErrorList

// Loader holds what the caller knows and this package does not. The zero value
// works: any design name is accepted and objects are decoded but not validated.
// A Loader is not changed by its methods and may be shared.
type Loader struct {
	// Designs lists the known values of cluster.design. If empty, any.
	Designs []string
	// Design, if not empty, is taken instead of cluster.design: what is found is
	// what is wrong with the scenario over that design.
	Design string
	// Proxies lists the known values of cluster.proxy, the default first. If empty,
	// those of emu.ProxyModes.
	Proxies []string
	// Faults, if not nil, are taken instead of the scenario's: each is an element
	// of faults in one line, as Verdict.Drawn has them.
	Faults []string
	// Validators holds API-server validation by kind, e.g. "Service". Objects
	// of a kind without an entry are not validated.
	Validators map[string]Validator
}

// Load reads a scenario or Kubernetes manifests with a zero [Loader].
func Load(path string, more ...string) (*Scenario, Diagnostics) { return Loader{}.Load(path, more...) }

// Parse is Load for a file already read; name appears in diagnostics, and
// manifests it refers to are looked for beside it.
func Parse(name string, data []byte) (*Scenario, Diagnostics) { return Loader{}.Parse(name, data) }

// Load reads the file at path, the manifests it names, and more files of manifests
// into a Scenario. The Scenario is never nil; it is fit for use only if the
// Diagnostics hold no Error.
func (ld Loader) Load(path string, more ...string) (*Scenario, Diagnostics) {
	l := newLoad(ld, path)
	for _, p := range append([]string{path}, more...) {
		if _, again := l.order[p]; again {
			continue
		}
		data, problem := readFile(p, true)
		if problem != "" {
			l.reportFile(p, problem)
			continue
		}
		l.file(p, data)
	}
	return l.finish()
}

// Parse is Load for a file already read, as the function of that name.
func (ld Loader) Parse(name string, data []byte) (*Scenario, Diagnostics) {
	l := newLoad(ld, name)
	l.file(name, data)
	return l.finish()
}

// maxDiagnostics bounds the findings of one load; a file of junk could make
// millions, and nobody reads past the first hundreds.
const maxDiagnostics = 500

// load is the state of one Load.
type load struct {
	Loader
	sc      *Scenario
	diags   Diagnostics
	more    int            // findings dropped at maxDiagnostics
	order   map[string]int // files in the order they were read
	sources map[string]*source

	scenario *document      // the document that is the scenario, or nil
	declared map[string]Pos // objects by kind, namespace and name
	names    *names
	real     Ref // the host that is real which was named last
}

func newLoad(ld Loader, path string) *load {
	if len(ld.Proxies) == 0 {
		ld.Proxies = emu.ProxyModes()
	}
	return &load{Loader: ld, sc: &Scenario{File: path}, order: map[string]int{}, sources: map[string]*source{}, declared: map[string]Pos{}}
}

// file decodes every document of one file.
func (l *load) file(name string, data []byte) {
	if _, again := l.order[name]; !again {
		l.order[name] = len(l.order)
	}
	src, bad := checkText(name, data)
	if bad != nil {
		l.add(*bad)
		return
	}
	l.sources[name] = src
	for _, d := range split(src) {
		l.document(d)
	}
}

// document decodes one document as what it looks like.
func (l *load) document(d *document) {
	defer l.reportUnusedSlashes(d)
	if !l.parse(d) {
		return
	}
	switch {
	case isManifest(d.root):
		l.manifest(d, d.root)
	case d.src.name != l.sc.File:
		l.reportAt(d, d.root, Diagnostic{Rule: "not-a-manifest", Message: "found a document without apiVersion and kind, want a Kubernetes manifest"})
	case l.scenario != nil:
		l.reportAt(d, d.root, Diagnostic{
			Rule:    "second-scenario",
			Message: fmt.Sprintf("found a second scenario document, the first begins on line %d", l.scenario.root.Line),
			Hint:    "a Kubernetes manifest needs apiVersion and kind",
		})
	default:
		l.scenario = d
		l.decodeScenario(d)
	}
}

// finish decodes what the scenario names, resolves what refers to other things,
// and returns the result.
func (l *load) finish() (*Scenario, Diagnostics) {
	for _, m := range l.sc.Manifests {
		l.manifestFile(m)
	}
	l.sc.plain = l.scenario == nil
	l.buildCluster()
	l.buildPods()
	l.names = newNames(l.sc)
	l.lint()
	l.resolveSteps()
	l.resolveFaults()
	l.warnIslands()
	l.diags.sortStable(l.order)
	if l.more > 0 {
		l.diags = append(l.diags, Diagnostic{Pos: Pos{File: l.sc.File}, Rule: "too-many",
			Message: fmt.Sprintf("%d more findings are not shown", l.more)})
	}
	return l.sc, l.diags
}

// manifestFile reads one file named under manifests, relative to the scenario.
func (l *load) manifestFile(m Field[string]) {
	path := m.Value
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(l.sc.File), path)
	}
	if _, again := l.order[path]; again {
		l.addAt(m.Pos, Diagnostic{Rule: "duplicate-name", Message: fmt.Sprintf("the manifest %s is read twice", quoted(m.Value))})
		return
	}
	data, problem := readFile(path, false)
	if problem != "" {
		l.addAt(m.Pos, Diagnostic{Rule: "manifest-file",
			Message: fmt.Sprintf("manifest %s: %s", quoted(m.Value), problem),
			Hint:    "paths are relative to the scenario file"})
		return
	}
	l.file(path, data)
}

// add records a finding.
func (l *load) add(d Diagnostic) {
	if len(l.diags) >= maxDiagnostics {
		l.more++
		return
	}
	l.diags = append(l.diags, d)
}

// reportFile records a finding about a file as a whole.
func (l *load) reportFile(path, message string) {
	l.order[path] = len(l.order)
	l.add(Diagnostic{Pos: Pos{File: path}, Rule: "unreadable-file", Message: message})
}

// report records a finding at a line and column of a document's file.
func (l *load) report(d *document, line, column int, diag Diagnostic) {
	diag.Pos = Pos{File: d.src.name, Line: line, Column: max(column, 1)}
	diag.Source = d.src.line(line)
	l.add(diag)
}

// addAt records a finding at a position of any file read so far.
func (l *load) addAt(pos Pos, diag Diagnostic) {
	diag.Pos = pos
	if src := l.sources[pos.File]; src != nil {
		diag.Source = src.line(pos.Line)
	}
	l.add(diag)
}
