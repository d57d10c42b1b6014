// Package emutest runs labs inside Go tests, in virtual time: exact, repeatable,
// and as fast as the machine allows.
//
//	func TestHello(t *testing.T) {
//		emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
//			lab.Pod("web", "node2", 80)
//			if got := lab.Pod("client", "node1").Get("http://web/hostname"); got != "web" {
//				t.Errorf("GET /hostname = %q, want web", got)
//			}
//		})
//	}
//
// Inside Run, time.Now, time.Sleep, timers and contexts are virtual too: the
// test is in a bubble of testing/synctest, and that package's rules apply; see
// package virtual for what is exact, and what is not.
// Every goroutine must end before the test can: if they wait for each other for
// ever, the test fails and names them. The lab itself waits for the
// bubble to be idle, so a test must not call synctest.Wait; Lab.Sleep(0) waits
// for everything that happens at this instant.
package emutest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/link"
)

// Lab is an emu.Lab whose set-up ends the test when it fails. Those methods
// are for the test's own goroutine.
type Lab struct {
	*emu.Lab
	t *testing.T
}

// Pod is an emu.Pod in a test.
type Pod struct {
	*emu.Pod
	t *testing.T
}

// captureDir names the environment variable that turns captures on: each lab
// of a test is written to a pcapng file in that directory.
const captureDir = "PODWIRE_PCAP"

// Run makes a lab in virtual time, calls f, and closes the lab. With the
// environment variable PODWIRE_PCAP=DIR the packets of every lab are kept in
// DIR, in a file named after the test.
func Run(t *testing.T, cfg emu.Config, f func(t *testing.T, lab *Lab)) {
	t.Helper()
	var driver atomic.Pointer[link.Driver]
	stop := virtual.Watch(os.Stderr, virtual.StallAfter, func() uint64 {
		if d := driver.Load(); d != nil {
			return d.Beat()
		}
		return 0
	})
	defer stop()
	var bubble virtual.Bubble
	defer func() {
		if p := recover(); p != nil {
			err := bubble.Deadlock(p)
			if err == nil {
				panic(p)
			}
			t.Fatal(err)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		bubble.Enter()
		lab := New(t, cfg)
		driver.Store(lab.Driver())
		f(t, lab)
	})
}

// New makes a lab inside a bubble that the test has made itself, and closes it
// when the test ends.
func New(t *testing.T, cfg emu.Config) *Lab {
	t.Helper()
	cfg.Settle = settleOf(t)
	l, err := emu.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	lab := &Lab{Lab: l, t: t}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		virtual.Linger()
	})
	if dir := os.Getenv(captureDir); dir != "" {
		lab.captureTo(dir)
	}
	lab.awaitReady()
	return lab
}

// settles holds what the labs of one test share.
var settles sync.Map // *testing.T -> func()

// settleOf returns the settle function of the test's bubble.
func settleOf(t *testing.T) func() {
	if f, ok := settles.Load(t); ok {
		return f.(func())
	}
	f := virtual.NewSettle()
	settles.Store(t, f)
	t.Cleanup(func() { settles.Delete(t) })
	return f
}

// captureFile makes the file for the next lab of a test: NAME.pcapng, then
// NAME-2.pcapng and so on. A new run of the test binary starts over.
func captureFile(dir, name string) (*os.File, error) {
	captured.Lock()
	defer captured.Unlock()
	captured.labs[name]++
	if n := captured.labs[name]; n > 1 {
		name = fmt.Sprintf("%s-%d", name, n)
	}
	return os.Create(filepath.Join(dir, name+".pcapng"))
}

// captured counts the labs of each test that were captured.
var captured = struct {
	sync.Mutex
	labs map[string]int
}{labs: make(map[string]int)}

// captureTo keeps the lab's packets in a file named after the test.
func (l *Lab) captureTo(dir string) {
	l.t.Helper()
	f, err := captureFile(dir, strings.ReplaceAll(l.t.Name(), "/", "-"))
	if err != nil {
		l.t.Fatal(err)
	}
	c, err := l.Capture(f, emu.CaptureConfig{Comment: l.t.Name()})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			l.t.Error(err)
		}
		f.Close()
	})
}

// Pod adds a pod to a node; an empty node lets the lab choose. TCP ports that
// are listed are answered by a built-in HTTP server.
func (l *Lab) Pod(name, node string, ports ...int32) *Pod {
	l.t.Helper()
	cfg := emu.PodConfig{Name: name, Node: node, Labels: map[string]string{"app": name}}
	for _, p := range ports {
		cfg.Ports = append(cfg.Ports, corev1.ContainerPort{ContainerPort: p})
	}
	return l.AddPod(cfg)
}

// readyTimeout is how long a test waits for daemons of the design at most.
const readyTimeout = time.Minute

// awaitReady waits for the design's daemons; of those that speak BGP, that is.
func (l *Lab) awaitReady() {
	l.t.Helper()
	if err := l.AwaitReady(readyTimeout); err != nil {
		l.t.Fatal(err)
	}
}

// AddPod adds a pod. With a design that speaks BGP it waits until all nodes know
// of the pod's block.
func (l *Lab) AddPod(cfg emu.PodConfig) *Pod {
	l.t.Helper()
	p, err := l.Lab.AddPod(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.awaitReady()
	return &Pod{Pod: p, t: l.t}
}

// Host adds a machine outside the cluster.
func (l *Lab) Host(name string) *emu.Host {
	l.t.Helper()
	h, err := l.AddHost(emu.HostConfig{Name: name})
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

// Service adds a Service in front of the pods whose label app is its name, and
// returns it as stored. A nodePort other than 0 makes it of type NodePort.
func (l *Lab) Service(name string, port, targetPort, nodePort int32) *corev1.Service {
	l.t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Port: port, TargetPort: intstr.FromInt32(targetPort), NodePort: nodePort}},
		},
	}
	if nodePort != 0 {
		s.Spec.Type = corev1.ServiceTypeNodePort
	}
	stored, err := l.AddService(s)
	if err != nil {
		l.t.Fatal(err)
	}
	return stored
}

// Get fetches a URL from the pod and returns the body. Any error, and a status
// other than 200, ends the test.
func (p *Pod) Get(url string) string {
	p.t.Helper()
	return Get(p.t, &p.Machine, url)
}

// Get fetches a URL from any machine and returns the body. Any error, and a
// status other than 200, ends the test.
func Get(t *testing.T, m *emu.Machine, url string) string {
	t.Helper()
	resp, err := m.HTTPClient().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: status %s, want 200", url, resp.Status)
	}
	return string(body)
}

// Ping sends one echo request and returns its round-trip time. No answer
// within ten seconds, or an error in its place, ends the test.
func (p *Pod) Ping(to string) time.Duration {
	p.t.Helper()
	r, err := p.Machine.Ping(to, 10*time.Second)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		p.t.Fatalf("ping %s: %v", to, err)
	}
	return r.RTT
}
