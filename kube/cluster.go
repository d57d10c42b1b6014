package kube

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Config describes a cluster's address plan. The zero value is the plan kubeadm
// and flannel agree on.
type Config struct {
	// PodCIDR is the range all pod addresses come from, kube-proxy's
	// --cluster-cidr. If zero, 10.244.0.0/16. The store does not allocate pod
	// addresses and accepts pods outside the range.
	PodCIDR netip.Prefix
	// ServiceCIDR is the range of cluster IPs. If zero, 10.96.0.0/12.
	ServiceCIDR netip.Prefix
	// NodePortRange is the range of node ports. If zero, 30000-32767.
	NodePortRange PortRange
	// Rand chooses cluster IPs and node ports, as the API server does at random.
	// If nil, a generator with a fixed seed.
	Rand *rand.Rand
	// DNS1035Names makes Service names DNS-1035 labels, which may not begin with
	// a digit: the rule up to Kubernetes 1.35. If false, DNS-1123 labels.
	DNS1035Names bool
}

// PortRange is an inclusive range of port numbers.
type PortRange struct{ First, Last uint16 }

// String returns the range as the API server prints it, "30000-32767".
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Contains reports whether port lies in the range.
func (r PortRange) Contains(port int32) bool {
	return port >= int32(r.First) && port <= int32(r.Last)
}

func (r PortRange) size() int { return int(r.Last) - int(r.First) + 1 }

// Cluster is the object store: what the API server and etcd hold, plus the
// endpoints controllers derive from it. Use NewCluster.
//
// Objects are copied on the way in. Objects handed out are the stored ones, as
// from a client-go lister: they must not be modified.
type Cluster struct {
	cfg       Config
	ips       *ipAllocator
	nodePorts *portAllocator
	pods      podStore
	services  map[types.NamespacedName]*serviceEntry
	selectors map[labelPair]map[types.NamespacedName]*serviceEntry
	endpoints map[types.NamespacedName]map[string]*discoveryv1.EndpointSlice // by Service, then by slice name
	slices    map[types.NamespacedName]types.NamespacedName                  // slice to Service
	nodes     map[string]*corev1.Node
	spaces    map[string]bool               // namespaces
	withheld  map[types.NamespacedName]bool // pods that are no endpoints
	sorted    []*serviceEntry               // services in order; nil when it must be rebuilt
}

// labelPair is one label of one namespace, the key of both selector indexes.
type labelPair struct{ namespace, key, value string }

// NewCluster returns an empty cluster. The first address of the service range
// is reserved for default/kubernetes, which may be added with that cluster IP.
// It fails on a range that has no usable address.
func NewCluster(cfg Config) (*Cluster, error) {
	if !cfg.PodCIDR.IsValid() {
		cfg.PodCIDR = netip.MustParsePrefix("10.244.0.0/16")
	}
	if !cfg.ServiceCIDR.IsValid() {
		cfg.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/12")
	}
	if cfg.NodePortRange == (PortRange{}) {
		cfg.NodePortRange = PortRange{30000, 32767}
	}
	if r := cfg.NodePortRange; r.First == 0 || r.Last < r.First {
		return nil, fmt.Errorf("kube: node port range: %s, want first <= last, both above 0", r)
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(1, 2))
	}
	ips, err := newIPAllocator(cfg.ServiceCIDR, cfg.Rand)
	if err != nil {
		return nil, err
	}
	return &Cluster{
		cfg:       cfg,
		ips:       ips,
		nodePorts: newPortAllocator(cfg.NodePortRange, cfg.Rand),
		pods:      newPodStore(),
		services:  make(map[types.NamespacedName]*serviceEntry),
		selectors: make(map[labelPair]map[types.NamespacedName]*serviceEntry),
		endpoints: make(map[types.NamespacedName]map[string]*discoveryv1.EndpointSlice),
		slices:    make(map[types.NamespacedName]types.NamespacedName),
		nodes:     make(map[string]*corev1.Node),
		withheld:  make(map[types.NamespacedName]bool),
		spaces:    map[string]bool{corev1.NamespaceDefault: true, "kube-system": true, "kube-public": true, "kube-node-lease": true},
	}, nil
}

// Config returns the configuration with its defaults filled in.
func (c *Cluster) Config() Config { return c.cfg }

// AddNode stores a node, replacing one of the same name. Only its name and its
// label topology.kubernetes.io/zone mean something here.
func (c *Cluster) AddNode(n *corev1.Node) error {
	if n.Name == "" {
		return invalid("Node", "", field.ErrorList{field.Required(field.NewPath("metadata", "name"), "name or generateName is required")})
	}
	c.nodes[n.Name] = n.DeepCopy()
	c.invalidateAll() // zones are part of what endpoints say
	return nil
}

// RemoveNode forgets a node. Its pods stay: deleting them is a controller's work.
func (c *Cluster) RemoveNode(name string) error {
	if c.nodes[name] == nil {
		return notFound("nodes", name)
	}
	delete(c.nodes, name)
	c.invalidateAll()
	return nil
}

// AddNamespace makes a namespace. An object in a namespace that was not made
// makes it: that is more lenient than the API server.
func (c *Cluster) AddNamespace(n *corev1.Namespace) error {
	if errs := ValidateNamespace(n); len(errs) > 0 {
		return invalid("Namespace", n.Name, errs)
	}
	c.spaces[n.Name] = true
	return nil
}

// ValidateNamespace checks the name and the labels of a Namespace.
func ValidateNamespace(n *corev1.Namespace) field.ErrorList {
	return apivalidation.ValidateObjectMeta(&n.ObjectMeta, false, apivalidation.ValidateNamespaceName, field.NewPath("metadata"))
}

// ValidateNode checks the name and the labels of a Node, and its pod CIDRs: they
// are ranges, the singular field is the first of them.
func ValidateNode(n *corev1.Node) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&n.ObjectMeta, false, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	spec := field.NewPath("spec")
	for i, cidr := range n.Spec.PodCIDRs {
		errs = append(errs, validation.IsValidCIDRForLegacyField(spec.Child("podCIDRs").Index(i), cidr, true, nil)...)
	}
	if len(n.Spec.PodCIDRs) > 0 && n.Spec.PodCIDR != n.Spec.PodCIDRs[0] {
		errs = append(errs, field.Invalid(spec.Child("podCIDRs").Index(0), n.Spec.PodCIDRs, "must match `podCIDR`"))
	}
	return errs
}

// HasNamespace reports whether a namespace exists; default and those that
// begin with kube- and belong to the system always do.
func (c *Cluster) HasNamespace(name string) bool { return c.spaces[name] }

// zone returns the topology zone of a node, "" if unknown.
func (c *Cluster) zone(node string) string {
	if n := c.nodes[node]; n != nil {
		return n.Labels[corev1.LabelTopologyZone]
	}
	return ""
}

func (c *Cluster) invalidateAll() {
	for _, e := range c.services {
		e.ports = nil
	}
}

// compareNames orders objects by namespace, then name.
func compareNames(a, b types.NamespacedName) int {
	if n := strings.Compare(a.Namespace, b.Namespace); n != 0 {
		return n
	}
	return strings.Compare(a.Name, b.Name)
}

// invalid, notFound and alreadyExists build the API server's answers.
func invalid(kind, name string, errs field.ErrorList) error {
	return apierrors.NewInvalid(schema.GroupKind{Kind: kind}, name, errs)
}

func notFound(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}

func alreadyExists(resource, name string) error {
	return apierrors.NewAlreadyExists(schema.GroupResource{Resource: resource}, name)
}
