package topo

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Scenario is everything one scenario file and its manifests say. What the files
// left out holds its default and has no position.
type Scenario struct {
	File      string // as given to Load or Parse
	Name      Field[string]
	Seed      Field[uint64] // of everything random in the lab; 0 if not written
	Cluster   Cluster
	Underlay  Underlay
	Hosts     []Host
	Manifests []Field[string] // paths as written, relative to File
	Steps     []Step
	Faults    []TimedFault // what happens while the steps run
	// Capture lists globs over capture points, as of path.Match; "all" is every
	// point. If empty, nothing is captured.
	Capture []Field[string]
	// Objects are the Kubernetes objects of all files, in order.
	Objects []*Object
	// Pods are the pods of the shorthand, of Pod manifests and of workloads such as Deployments,
	// each placed on a node.
	Pods []*Pod

	plain  bool // no document of the files is a scenario
	survey bool // steps are made when the lab stands

	unasked int // requests of a survey beyond what one makes
}

// Cluster is the Kubernetes cluster.
type Cluster struct {
	Pos         Pos
	Design      Field[string]       // default flannel-vxlan
	Proxy       Field[string]       // default iptables
	PodCIDR     Field[netip.Prefix] // default 10.244.0.0/16
	ServiceCIDR Field[netip.Prefix] // default 10.96.0.0/12
	// IPVSScheduler and StrictARP are settings of proxy: ipvs. See emu.Config.
	IPVSScheduler Field[string] // default rr
	StrictARP     Field[bool]
	// ProxySyncDelay is how long after a change of endpoints rules follow; 0 is at
	// once. See emu.Config.
	ProxySyncDelay Field[time.Duration]
	// DNS runs the cluster's DNS: pods look names up with packets. Without, names
	// are known.
	DNS Field[bool]
	// LoadBalancers is the pool of addresses for Services of type LoadBalancer,
	// within the underlay. If not set, such a Service waits for one.
	LoadBalancers Field[netip.Prefix]
	// ConntrackRace is drop or resolve: what becomes of the second of two datagrams
	// that race. If not set, none do. See emu.Config.
	ConntrackRace Field[string]
	CPU           CPU               // the model of the nodes' CPUs, default none
	Nodes         []Node            // default two, node1 and node2
	Sysctls       map[string]string // kernel parameters of every node, by name
}

// Node is one machine of the cluster.
type Node struct {
	Name    Field[string]
	Address Field[netip.Addr]   // on the underlay; default from .11 up
	PodCIDR Field[netip.Prefix] // default the n-th /24 of the cluster's
	Segment string              // of the underlay
	Link    Link                // the node's cable; unset fields are the segment's
	Routes  []Route             // besides the default route to the segment's router
	Labels  map[string]string   // always holds kubernetes.io/hostname
	Rules   Rules               // netfilter rules besides those of design and kube-proxy
}

// Host is a machine outside the cluster.
type Host struct {
	Name    Field[string]
	Address Field[netip.Addr] // default the next free after the nodes
	Segment string            // of the underlay
	Link    Link              // the host's cable; unset fields are the segment's
	Routes  []Route           // besides the default route to the segment's router
	Ports   []ContainerPort   // that it answers on, as a pod does
	Sysctls map[string]string // kernel parameters, by name
	Rules   Rules             // netfilter rules

	// TAP, if set, says that the host is real: this machine's kernel, joined by a
	// TAP device of that name. Then it has no ports, sysctls and rules.
	TAP   Field[string]
	Netns Field[string] // of the device; see emu.TAPConfig

	routesSet bool // Routes were written, if only as none
}

// Pod is one pod to run, whichever way it was declared.
type Pod struct {
	Namespace   string
	Name        Field[string]
	Node        Field[string] // not set: placed by podwire, fewest pods first
	Labels      map[string]string
	Annotations map[string]string
	HostNetwork bool
	Sysctls     map[string]string // of the security context, by name
	Containers  []Container
	// Hostname, Subdomain, DNSPolicy and DNSConfig are those of the pod's spec.
	Hostname, Subdomain string
	DNSPolicy           corev1.DNSPolicy
	DNSConfig           *corev1.PodDNSConfig
	// NotReady says that the pod's readiness probe fails: a Ready condition of its
	// status, as in `kubectl get -o yaml`, or the annotation podwire/ready: "false".
	NotReady bool
	// Terminating says that the pod is being deleted: it has a deletionTimestamp.
	Terminating bool
	// Owner names the workload that made the pod, e.g. "Deployment/web". It is
	// empty for a pod declared as such.
	Owner string
}

// Key returns namespace/name.
func (p *Pod) Key() string { return p.Namespace + "/" + p.Name.Value }

// Container is one container of a Pod.
type Container struct {
	Name  Field[string]
	Ports []ContainerPort
}

// ContainerPort is a port that a container declares, hence answers.
type ContainerPort struct {
	Name     string // may be empty
	Number   Field[int]
	Protocol string // TCP, UDP or SCTP

	// HostPort is the port of the node that leads to it, if it is set.
	HostPort Field[int]
	HostIP   Field[netip.Addr] // of the node; not set: all
}

// Step is one step of the timeline. Exactly one of the verbs is not nil.
type Step struct {
	Pos  Pos
	Name Field[string]
	// At is the time since the lab began at which the step starts; if not set,
	// when the step before it has ended.
	At     Field[time.Duration]
	Ping   *Ping
	HTTP   *HTTP
	TCP    *Exchange
	UDP    *Exchange
	Exec   *Exec
	Sleep  *Field[time.Duration]
	Action Action // any other verb
	Expect Expect

	real Ref // a host that is real, if the step names one
}

// Verb returns the word that the step was written with, such as ping; "" for a
// step without a usable verb.
func (s *Step) Verb() string {
	switch {
	case s.Action != nil:
		return s.Action.Verb()
	case s.Ping != nil:
		return "ping"
	case s.HTTP != nil:
		return "http"
	case s.TCP != nil:
		return "tcp"
	case s.UDP != nil:
		return "udp"
	case s.Exec != nil:
		return "exec"
	case s.Sleep != nil:
		return "sleep"
	}
	return ""
}

// Ping sends ICMP echo requests.
type Ping struct {
	From, To Ref
	Count    Field[int]           // default 1
	Size     Field[int]           // bytes of ICMP payload; default 56, as ping(8)
	Interval Field[time.Duration] // default 1s
	DF       Field[bool]          // forbid fragmentation; default true, as ping(8) on Linux
}

// HTTP makes one HTTP request.
type HTTP struct {
	From   Ref
	URL    Field[string]
	Host   Ref                 // the URL's host, with the port to connect to
	Method Field[string]       // default GET
	Header map[string][]string // canonical keys, as net/http.Header
	Body   Field[string]
}

// Exchange opens a TCP connection or sends UDP datagrams, and reads the answer.
type Exchange struct {
	From, To Ref // To has a port
	Send     Field[string]
	Expect   Field[string] // the bytes that must come back; if not set, any
	Count    Field[int]    // exchanges one after another; default 1
}

// Expect is what a step must find. Fields that are not set are not checked.
type Expect struct {
	Pos      Pos
	Status   Field[int] // HTTP status
	Body     Field[string]
	Contains Field[string]
	Matches  Field[string] // a regular expression; ^ and $ stand for lines
	Exit     Field[int]    // the exit code of a command
	Error    Field[string] // one of StepErrors
	Within   Field[time.Duration]
	Exactly  Field[time.Duration]
	// SourceIP is who the answering side saw as its peer: an address, or a name
	// that stands for one.
	SourceIP Ref
	// Translated are the translations of the flow, these and no others, in the order
	// in which its first packet meets them; NoNAT is that there must be none.
	Translated []NAT
	NoNAT      bool
	TTL        Field[int]
	Loss       Field[float64] // share of pings without answer
}

// StepErrors are the words of expect.error.
var StepErrors = []string{
	"timeout", "refused", "reset", "unreachable", "prohibited", "too-big", "ttl-exceeded", "unknown-name",
}

// RefKind says what a [Ref] turned out to be. The zero value is RefNone.
type RefKind int

// The kinds of things a name may stand for.
const (
	RefNone RefKind = iota // not written, or not found
	RefPod
	RefNode
	RefHost
	RefTAP // a host that is real
	RefService
	RefIngress // a host name that an Ingress rule declares
	RefIP
)

// Ref is a name or an address in a step, resolved.
type Ref struct {
	Pos       Pos
	Text      string // as written
	Kind      RefKind
	Namespace string     // of a pod or service
	Name      string     // without namespace, container and port
	Container string     // of a pod; "" is its first
	Addr      netip.Addr // of a RefIP
	Port      int        // 0 if none was written
}

// IsSet reports whether the reference was written.
func (r Ref) IsSet() bool { return r.Pos.IsValid() }
