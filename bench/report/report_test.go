package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/podwire/podwire/bench/faceoff"
	"github.com/podwire/podwire/bench/report"
)

// fixture returns what podwire compare has found: testdata/result.json is
//
//	podwire compare examples/faceoff.yaml --seeds 2 -o json | jq -c .
//
// and a few things that went wrong nowhere there.
func fixture(t *testing.T) *faceoff.Result {
	t.Helper()
	b, err := os.ReadFile("testdata/result.json")
	if err != nil {
		t.Fatal(err)
	}
	r := new(faceoff.Result)
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	m := &r.Measures[6]
	m.Values[2].Value, m.Values[2].Note = nil, "the stream did not become steady"
	c := &r.Calibration[3]
	c.Error, c.Agrees, c.Measured = .0123, false, c.Theory*1.0123
	c = &r.Calibration[20]
	c.Error, c.Agrees, c.Measured = -.009, false, c.Theory*.991
	r.Designs[4].Checks = &faceoff.Checks{Steps: 3, Failed: []string{"step 2, a Service picks one of two pods: status: got 503, want 200"}}
	r.Designs[5].Warnings = []string{"a process in user space carries the packets"}
	r.Scenario.Text = "name: faceoff\n\ncluster: {nodes: 3}\n"
	r.Warnings = append(r.Warnings, "the host was busy: figures in real time are worth little")
	return r
}

// write returns the page.
func write(t *testing.T, r *faceoff.Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// attack is text that means to be markup, wherever it lands.
const attack = `</script><script>window.owned=1</script>"'><img src=x onerror=window.owned=1><!--<b class=x>{{.}}${alert(1)}`

// hostile returns the fixture with an attack in every string. Names that tie parts
// of it together stay the same among themselves.
func hostile(t *testing.T) *faceoff.Result {
	t.Helper()
	r := fixture(t)
	spoil(reflect.ValueOf(r).Elem())
	return r
}

// spoil adds the attack to all strings below v.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + attack)
	case reflect.Pointer:
		if !v.IsNil() {
			spoil(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			spoil(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i))
		}
	}
}

// few returns the fixture with three designs and two measures of each group.
func few(r *faceoff.Result) *faceoff.Result {
	f := *r
	kept := func(design string) bool {
		return slices.ContainsFunc(r.Designs[4:7], func(d faceoff.Design) bool { return d.Name == design })
	}
	f.Designs, f.Measures, f.Series, f.Calibration = r.Designs[4:7], nil, nil, nil
	taken := map[string]int{}
	for _, m := range r.Measures {
		if taken[m.Group]++; taken[m.Group] <= 2 {
			m.Values = m.Values[4:7]
			f.Measures = append(f.Measures, m)
		}
	}
	for _, s := range r.Series {
		if kept(s.Design) {
			f.Series = append(f.Series, s)
		}
	}
	for _, c := range r.Calibration {
		if kept(c.Design) || !c.Agrees {
			f.Calibration = append(f.Calibration, c)
		}
	}
	return &f
}

// crowded returns the fixture on 14 nodes with 50 pods, in two segments with a
// router between them.
func crowded(r *faceoff.Result) *faceoff.Result {
	c := *r
	c.Scenario.From, c.Scenario.To = "client", "server"
	c.Topology = faceoff.Topology{
		Segments: []faceoff.Segment{{Name: "rack1", Subnet: "10.0.1.0/24", MTU: 1500}, {Name: "rack2", Subnet: "10.0.2.0/24", MTU: 9000}},
		Pods:     []faceoff.Pod{{Name: "client", Node: "node1"}, {Name: "server", Node: "node14"}},
	}
	t := &c.Topology
	for i := range 14 {
		name := fmt.Sprintf("node%d", i+1)
		segment := t.Segments[i%2].Name
		if i == 13 {
			segment = "rack2"
		}
		t.Machines = append(t.Machines, faceoff.Machine{Name: name, Kind: "node", Addr: fmt.Sprintf("10.0.%d.%d", i%2+1, i+10)})
		t.Links = append(t.Links, faceoff.Link{Machine: name, Segment: segment, Rate: 1e10, Latency: 5000})
	}
	t.Machines = append(t.Machines, faceoff.Machine{Name: "tor", Kind: "router"})
	for _, s := range t.Segments {
		t.Links = append(t.Links, faceoff.Link{Machine: "tor", Segment: s.Name, Text: "100 Gbit/s, 1 µs each way"})
	}
	for i := range 48 {
		node := fmt.Sprintf("node%d", i%14+1)
		if i < 12 {
			node = "node1"
		}
		t.Pods = append(t.Pods, faceoff.Pod{Name: fmt.Sprintf("web-%d", i), Node: node})
	}
	return &c
}

func TestSameResultSameBytes(t *testing.T) {
	first, second := write(t, fixture(t)), write(t, fixture(t))
	if first != second {
		t.Error("the same result gave two different pages")
	}
}

func TestSize(t *testing.T) {
	if n := len(write(t, fixture(t))); n > 1_500_000 {
		t.Errorf("the report has %d bytes, want at most 1,500,000", n)
	}
}

// TestPolicy checks that the page allows its own scripts, no others, and no
// requests at all.
func TestPolicy(t *testing.T) {
	page := write(t, fixture(t))
	meta := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]*)">`).FindStringSubmatch(page)
	if meta == nil {
		t.Fatal("the page has no policy")
	}
	var hashes strings.Builder
	scripts := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllStringSubmatch(page, -1)
	for _, m := range scripts {
		sum := sha256.Sum256([]byte(m[1]))
		fmt.Fprintf(&hashes, " 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
	}
	if len(scripts) != 3 {
		t.Errorf("%d scripts, want two libraries and the page's own", len(scripts))
	}
	want := "default-src 'none'; script-src" + hashes.String() + "; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
	if got := html.UnescapeString(meta[1]); got != want {
		t.Errorf("policy is\n%s\nwant\n%s", got, want)
	}
	if m := regexp.MustCompile(`(?i)\b(src|href|action|srcset)\s*=\s*["']?(https?:|//)`).FindString(strings.Join(regexp.MustCompile(`(?s)<script.*?</script>`).Split(page, -1), "")); m != "" {
		t.Errorf("the page refers to the network: %s", m)
	}
}

// TestHostileText checks that nothing that a result says becomes markup or script.
func TestHostileText(t *testing.T) {
	good, bad := write(t, fixture(t)), write(t, hostile(t))
	for _, tag := range []string{"<script", "</script", "<img", "<b class=x", "<!--"} {
		if got, want := strings.Count(bad, tag), strings.Count(good, tag); got != want {
			t.Errorf("%d times %s in the page, want %d", got, tag, want)
		}
	}
}

func TestResultIsEmbedded(t *testing.T) {
	for name, r := range map[string]*faceoff.Result{"fixture": fixture(t), "hostile": hostile(t)} {
		m := regexp.MustCompile(`(?s)<script type="application/json" id="result">(.*?)</script>`).FindStringSubmatch(write(t, r))
		if m == nil {
			t.Fatalf("%s: no result in the page", name)
		}
		got := new(faceoff.Result)
		if err := json.Unmarshal([]byte(m[1]), got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("%s: the page has another result than it was written from", name)
		}
	}
}

// TestLibraries holds the embedded files against what lib/README.md says of them.
func TestLibraries(t *testing.T) {
	readme, err := os.ReadFile("lib/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d3.min.js", "plot.umd.min.js"} {
		b, err := os.ReadFile("lib/" + name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if !strings.Contains(string(readme), "`"+name+"`") || !strings.Contains(string(readme), hex.EncodeToString(sum[:])) {
			t.Errorf("lib/README.md does not say that %s has SHA-256 %x", name, sum)
		}
		if bytes.Contains(b, []byte("</script")) || bytes.Contains(b, []byte("<!--")) {
			t.Errorf("%s has text that ends a script element", name)
		}
	}
}

// TestEmptyResult checks that parts that were not measured are left out.
func TestEmptyResult(t *testing.T) {
	page := write(t, &faceoff.Result{})
	for _, id := range []string{"measures", "time", "calibration", "packet", "overview-table"} {
		if strings.Contains(page, `id="`+id+`"`) {
			t.Errorf("an empty result has a section %s", id)
		}
	}
	want := regexp.MustCompile(`href="#([^"]+)"`)
	for _, m := range want.FindAllStringSubmatch(page, -1) {
		if !strings.Contains(page, `id="`+m[1]+`"`) {
			t.Errorf("a link leads to #%s, which is not there", m[1])
		}
	}
}

// full is a disk.
type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriterFails(t *testing.T) {
	if err := report.Write(full{}, fixture(t)); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}
