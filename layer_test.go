// Package podwire holds no code: it is the root of the module, and its test
// keeps the layers apart.
package podwire

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/podwire/podwire/"

// layers says what each package may import of this module. Imports point down
// only: a package that is not listed may not exist.
var layers = map[string][]string{
	"link":              {"internal/bubble"},
	"pcap":              {},
	"pcap/diff":         {"pcap"},
	"pcap/text":         {"pcap", "internal/typo"},
	"kube":              {},
	"kube/coredns":      {"kube"},
	"internal/bubble":   {},
	"internal/typo":     {},
	"stack/netfilter":   {"internal/typo"},
	"stack/nftables":    {"stack/netfilter", "internal/typo"},
	"stack/ipvs":        {},
	"stack/conntrack":   {},
	"stack":             {"link", "stack/netfilter", "stack/nftables", "stack/ipvs", "stack/conntrack", "internal/typo"},
	"overlay/wireguard": {"link"},
	"overlay/bgp":       {"link"},
	"overlay":           {"link", "stack", "stack/netfilter", "overlay/wireguard", "overlay/bgp"},
	"emu":               {"link", "stack", "stack/netfilter", "stack/nftables", "stack/ipvs", "stack/conntrack", "overlay", "overlay/bgp", "overlay/wireguard", "kube", "kube/coredns", "emu/resolv", "emu/tap", "pcap"},
	"emu/resolv":        {},
	"emu/tap":           {},
	"emu/shell":         {"emu", "emu/resolv", "overlay/bgp", "pcap", "pcap/text", "link", "stack", "stack/netfilter", "stack/nftables", "stack/ipvs", "stack/conntrack", "internal/typo"},
	"emu/explain":       {"emu", "link", "stack", "pcap", "pcap/text"},
	"emu/anatomy":       {"emu", "emu/explain", "emu/shell", "link", "overlay"},
	"emu/virtual":       {},
	"emu/emutest":       {"emu", "emu/virtual", "link"},
	"emu/conformance":   {},
	"topo/search":       {},
	"topo":              {"emu", "emu/shell", "link", "stack", "internal/typo"},
	"bench":             {"emu", "emu/virtual", "link", "stack"},
	"bench/convergence": {"bench/workload", "emu", "emu/virtual", "link"},
	"bench/ratios":      {"bench"},
	"bench/report":      {"bench/faceoff"},
	"bench/workload":    {"emu", "link", "stack"},
	"bench/faceoff":     {"bench/workload", "emu", "emu/explain", "emu/virtual", "link", "overlay"},
	"cmd/podwire":       {"bench/workload", "bench/faceoff", "bench/report", "topo", "topo/search", "emu", "emu/anatomy", "emu/explain", "emu/shell", "internal/typo", "emu/virtual", "overlay", "kube", "pcap", "pcap/diff", "pcap/text"},
}

// rules are prefixes of import paths that only some packages may use, and why.
var rules = []struct {
	prefix string
	only   []string
	why    string
}{
	{"gvisor.dev/gvisor", []string{"stack"}, "only stack knows gVisor"},
	{"testing", []string{"emu/emutest", "emu/virtual"}, "a program should not link the test framework"},
	{"github.com/songgao/water", []string{"emu/tap"}, "one package touches the kernel's devices"},
	{"github.com/vishvananda/netlink", []string{"emu/tap"}, "one package touches the kernel's devices"},
	{"k8s.io/", []string{"kube", "kube/coredns", "emu", "emu/emutest", "topo", "cmd/podwire"}, "below emu nothing knows Kubernetes' objects"},
	{"net", []string{"stack", "emu", "emu/resolv", "emu/emutest", "emu/shell", "emu/tap", "topo", "pcap"}, "link and overlay move frames; sockets are stack's"},
}

// clocks are the packages that may ask what time it is. Everybody else is told.
var clocks = []string{"internal/bubble", "link", "stack", "emu/virtual"}

func TestLayers(t *testing.T) {
	fset := token.NewFileSet()
	seen := map[string]bool{}
	for file := range goFiles(t) {
		dir := filepath.ToSlash(filepath.Dir(file))
		allowed, known := layers[dir]
		if !known {
			t.Errorf("%s: package %s has no place in the layers: add it to the table in layer_test.go", file, dir)
			continue
		}
		seen[dir] = true
		f, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			if own, ok := strings.CutPrefix(imported, module); ok {
				if !slices.Contains(allowed, own) {
					t.Errorf("%s imports %s, which is not below %s", file, own, dir)
				}
				continue
			}
			checkRules(t, file, dir, imported)
		}
		checkClock(t, fset, f, file, dir)
	}
	for dir := range layers {
		if !seen[dir] {
			t.Errorf("layer_test.go lists package %s, which does not exist", dir)
		}
	}
}

func checkRules(t *testing.T, file, dir, imported string) {
	t.Helper()
	for _, r := range rules {
		match := imported == r.prefix || strings.HasPrefix(imported, strings.TrimSuffix(r.prefix, "/")+"/") && r.prefix != "net"
		if match && !slices.Contains(r.only, dir) {
			t.Errorf("%s imports %s: %s", file, imported, r.why)
		}
	}
}

// checkClock finds uses of the wall clock.
func checkClock(t *testing.T, fset *token.FileSet, f *ast.File, file, dir string) {
	t.Helper()
	if slices.Contains(clocks, dir) {
		return
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}, sel.Sel.Name) {
			t.Errorf("%s: time.%s: only %s read clocks", fset.Position(n.Pos()), sel.Sel.Name, strings.Join(clocks, ", "))
		}
		return true
	})
}

// goFiles yields the module's Go files that are not tests.
func goFiles(t *testing.T) map[string]bool {
	t.Helper()
	files := map[string]bool{}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case path.Ext(p) == ".go" && !strings.HasSuffix(p, "_test.go"):
			files[p] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found %d Go files, want all of them", len(files))
	}
	return files
}
