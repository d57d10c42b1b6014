package topo

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

var update = flag.Bool("update", false, "rewrite testdata/seed/*.want")

// The three manifests that this project began with, as printed, and every word
// that is said about them.
func TestSeedManifestsAreExplained(t *testing.T) {
	for _, name := range []string{"nginx-service", "influxdb", "ingress"} {
		data, err := os.ReadFile(filepath.Join("testdata/seed", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		_, diags := Parse(name+".yaml", data)
		var got bytes.Buffer
		if err := diags.WriteDetail(&got); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata/seed", name+".want")
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got.String(), want)
		}
		if !diags.HasErrors() {
			t.Errorf("%s: got no error, want at least one", name)
		}
	}
}

// fixSeed returns a seed manifest as Fix corrects it, and the load of that.
func fixSeed(t *testing.T, name string) *Scenario {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/seed", name))
	if err != nil {
		t.Fatal(err)
	}
	fixed, applied := Fix(data)
	if len(applied) == 0 {
		t.Fatalf("%s: Fix applied nothing", name)
	}
	sc, diags := Parse(name, fixed)
	if err := diags.Err(); err != nil {
		t.Fatalf("%s: fixed, got %v, want no error; text:\n%s", name, err, fixed)
	}
	if len(sc.Objects) != 1 {
		t.Fatalf("%s: got %d objects, want 1", name, len(sc.Objects))
	}
	return sc
}

func TestSeedServicesFixedMeanWhatTheirAuthorMeant(t *testing.T) {
	cases := []struct {
		file                 string
		port, target, node   int32
		selectorKey, selects string
	}{
		{"nginx-service.yaml", 30080, 80, 30001, "name", "nginx-pod"},
		{"influxdb.yaml", 8086, 0, 31112, "name", "influxdb"},
	}
	for _, c := range cases {
		svc := fixSeed(t, c.file).Objects[0].Object.(*corev1.Service)
		if svc.Spec.Type != corev1.ServiceTypeNodePort {
			t.Errorf("%s: got type %q, want NodePort", c.file, svc.Spec.Type)
		}
		p := svc.Spec.Ports[0]
		if p.Port != c.port || p.TargetPort.IntVal != c.target || p.NodePort != c.node {
			t.Errorf("%s: got port %d, targetPort %d, nodePort %d, want %d, %d, %d", c.file, p.Port, p.TargetPort.IntVal, p.NodePort, c.port, c.target, c.node)
		}
		if got := svc.Spec.Selector[c.selectorKey]; got != c.selects || len(svc.Spec.Selector) != 1 {
			t.Errorf("%s: got selector %v, want %s=%s alone", c.file, svc.Spec.Selector, c.selectorKey, c.selects)
		}
	}
}

func TestSeedIngressRebuiltIsAModernIngress(t *testing.T) {
	ing := fixSeed(t, "ingress.yaml").Objects[0].Object.(*networkingv1.Ingress)
	if len(ing.Spec.Rules) != 1 || ing.Spec.Rules[0].Host != "test.name.com" {
		t.Fatalf("got rules %+v, want one for test.name.com", ing.Spec.Rules)
	}
	want := []struct {
		path, service string
		port          int32
	}{{"/test(/|$)(.*)", "service-1", 8118}, {"/name(/|$)(.*)", "service-2", 8228}}
	paths := ing.Spec.Rules[0].HTTP.Paths
	if len(paths) != len(want) {
		t.Fatalf("got %d paths, want %d", len(paths), len(want))
	}
	for i, w := range want {
		p := paths[i]
		if p.Path != w.path || p.Backend.Service.Name != w.service || p.Backend.Service.Port.Number != w.port ||
			p.PathType == nil || *p.PathType != networkingv1.PathTypeImplementationSpecific {
			t.Errorf("path %d: got %+v, want %+v", i, p, w)
		}
	}
	if got := ing.Annotations["nginx.ingress.kubernetes.io/rewrite-target"]; got != "/$2" {
		t.Errorf("got rewrite-target %q, want /$2", got)
	}
}

func TestFixKeepsWhatItNeedNotTouch(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"comment at the end of a line", "kind: Service // the kind\n", "kind: Service # the kind\n"},
		{"comment of its own line", "// first\nkind: Service\n", "# first\nkind: Service\n"},
		{"URL", "url: http://a//b\n", ""},
		{"quoted", "a: \"x // y\"\nb: 'x // y'\n", ""},
		{"quoted over two lines", "a: \"x\n  // y\"\n", ""},
		{"block scalar", "a: |\n  x // y\n  // z\nb: 1 // c\n", "a: |\n  x // y\n  // z\nb: 1 # c\n"},
		{"block scalar in a list", "- a: >-\n    // x\n  b: 1 // c\n", "- a: >-\n    // x\n  b: 1 # c\n"},
		{"value that begins with slashes", "path: //host/share\n", ""},
		{"behind a # comment", "a: 1 # see // there\n", ""},
		{"Windows line ends", "a: 1 // b\r\nc: 2\r\n", "a: 1 # b\r\nc: 2\r\n"},
		{"byte order mark", "\ufeffa: 1 // b\n", "\ufeffa: 1 # b\n"},
		{"apostrophe in a plain value", "a: it's // b\n", "a: it's # b\n"},
		{"tab", "kind: Pod\nspec:\n\thostNetwork: true\n", "kind: Pod\nspec:\n  hostNetwork: true\n"},
	}
	for _, c := range cases {
		got, applied := Fix([]byte(c.in))
		want := c.want
		if want == "" {
			want = c.in
		}
		if string(got) != want {
			t.Errorf("%s: Fix(%q): got %q, want %q", c.name, c.in, got, want)
		}
		if (len(applied) > 0) != (c.want != "") {
			t.Errorf("%s: Fix(%q): got %d applied", c.name, c.in, len(applied))
		}
	}
}

func TestFlattenedServiceIsRebuiltToo(t *testing.T) {
	sc, diags := Parse("f.yaml", []byte("apiVersion: v1 kind: Service metadata: name: web labels: app: web tier: front spec: type: NodePort ports: - port: 80 nodePort: 30001 - name: b port: 81 selector: app: web\n"))
	if len(diags) != 1 || diags[0].Rule != "flattened-manifest" {
		t.Fatalf("got %v, want flattened-manifest alone", diags)
	}
	svc := Objects[*corev1.Service](sc)[0]
	if len(svc.Spec.Ports) != 2 || svc.Spec.Ports[0].NodePort != 30001 || svc.Spec.Ports[1].Port != 81 ||
		svc.Spec.Selector["app"] != "web" || svc.Labels["tier"] != "front" || svc.Spec.Type != "NodePort" {
		t.Errorf("got %+v, labels %v", svc.Spec, svc.Labels)
	}
	if !strings.HasPrefix(diags[0].Fix, "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n") {
		t.Errorf("got fix\n%s", diags[0].Fix)
	}
}
