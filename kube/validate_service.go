package kube

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	supportedServiceTypes  = sets.New(corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName)
	supportedAffinities    = sets.New(corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	supportedProtocols     = sets.New(corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
	supportedInternal      = sets.New(corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)
	supportedExternal      = sets.New(corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
	supportedDistributions = sets.New(corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)
)

// ValidateService checks a Service as the API server does on create, after
// filling in defaults on a copy, and returns every error with Kubernetes' field
// path and wording. What depends on other objects or on the cluster's ranges
// (an address or port that is taken or out of range) is AddService's to find.
func ValidateService(s *corev1.Service) field.ErrorList {
	s = s.DeepCopy()
	DefaultService(s)
	return validateService(s, false)
}

// validateService checks a Service whose defaults are filled in, in the order
// of the API server.
func validateService(s *corev1.Service, dns1035 bool) field.ErrorList {
	nameRule := apivalidation.NameIsDNSLabel
	if dns1035 {
		nameRule = apivalidation.NameIsDNS1035Label
	}
	errs := apivalidation.ValidateObjectMeta(&s.ObjectMeta, true, nameRule, field.NewPath("metadata"))
	spec := field.NewPath("spec")
	if len(s.Spec.Ports) == 0 && !headless(s) && s.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(spec.Child("ports"), ""))
	}
	errs = append(errs, validateServiceType(s, spec)...)
	errs = append(errs, validateServicePorts(s.Spec.Ports, spec.Child("ports"))...)
	errs = append(errs, metav1validation.ValidateLabels(s.Spec.Selector, spec.Child("selector"))...)
	errs = append(errs, validateAffinity(&s.Spec, spec)...)
	errs = append(errs, validateClusterIPs(s, spec)...)
	for i, ip := range s.Spec.ExternalIPs {
		errs = append(errs, validateExternalIP(ip, spec.Child("externalIPs").Index(i))...)
	}
	if !supportedServiceTypes.Has(s.Spec.Type) {
		errs = append(errs, field.NotSupported(spec.Child("type"), s.Spec.Type, sets.List(supportedServiceTypes)))
	}
	errs = append(errs, validatePortUse(s, spec.Child("ports"))...)
	errs = append(errs, validateSourceRanges(s, spec)...)
	errs = append(errs, validateTrafficPolicies(s, spec)...)
	return append(errs, validateIngressStatus(s, field.NewPath("status", "loadBalancer", "ingress"))...)
}

// validateServiceType checks what a type excludes.
func validateServiceType(s *corev1.Service, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		if headless(s) {
			detail := fmt.Sprintf("may not be set to 'None' for %s services", s.Spec.Type)
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(0), s.Spec.ClusterIP, detail))
		}
	case corev1.ServiceTypeExternalName:
		const detail = "may not be set for ExternalName services"
		if len(s.Spec.ClusterIPs) > 0 {
			errs = append(errs, field.Forbidden(spec.Child("clusterIPs"), detail))
		}
		if len(s.Spec.IPFamilies) > 0 {
			errs = append(errs, field.Forbidden(spec.Child("ipFamilies"), detail))
		}
		if s.Spec.IPFamilyPolicy != nil {
			errs = append(errs, field.Forbidden(spec.Child("ipFamilyPolicy"), detail))
		}
		errs = append(errs, validateExternalName(s.Spec.ExternalName, spec.Child("externalName"))...)
	}
	return errs
}

func validateExternalName(name string, path *field.Path) field.ErrorList {
	name = strings.TrimSuffix(name, ".") // a fully qualified name may say so
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return invalids(path, name, validation.IsDNS1123Subdomain(name))
}

func validateServicePorts(ports []corev1.ServicePort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range ports {
		errs = append(errs, validateServicePort(&ports[i], len(ports) > 1, names, path.Index(i))...)
	}
	return errs
}

func validateServicePort(p *corev1.ServicePort, nameRequired bool, names sets.Set[string], path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case p.Name == "" && nameRequired:
		errs = append(errs, field.Required(path.Child("name"), ""))
	case p.Name != "":
		errs = append(errs, invalids(path.Child("name"), p.Name, validation.IsDNS1123Label(p.Name))...)
		if names.Has(p.Name) {
			errs = append(errs, field.Duplicate(path.Child("name"), p.Name))
		}
		names.Insert(p.Name)
	}
	errs = append(errs, invalids(path.Child("port"), p.Port, validation.IsValidPortNum(int(p.Port)))...)
	if !supportedProtocols.Has(p.Protocol) {
		errs = append(errs, field.NotSupported(path.Child("protocol"), p.Protocol, sets.List(supportedProtocols)))
	}
	errs = append(errs, validateTargetPort(p.TargetPort, path.Child("targetPort"))...)
	if p.AppProtocol != nil {
		errs = append(errs, invalids(path.Child("appProtocol"), *p.AppProtocol, validation.IsQualifiedName(*p.AppProtocol))...)
	}
	return errs
}

func validateTargetPort(p intstr.IntOrString, path *field.Path) field.ErrorList {
	if p.Type == intstr.String {
		return invalids(path, p.StrVal, validation.IsValidPortName(p.StrVal))
	}
	return invalids(path, p.IntVal, validation.IsValidPortNum(int(p.IntVal)))
}

func validateAffinity(s *corev1.ServiceSpec, spec *field.Path) field.ErrorList {
	if !supportedAffinities.Has(s.SessionAffinity) {
		return field.ErrorList{field.NotSupported(spec.Child("sessionAffinity"), s.SessionAffinity, sets.List(supportedAffinities))}
	}
	if s.SessionAffinity == corev1.ServiceAffinityNone {
		return nil // defaulting dropped the configuration
	}
	timeout := *s.SessionAffinityConfig.ClientIP.TimeoutSeconds
	if timeout <= 0 || timeout > maxAffinitySeconds {
		path := spec.Child("sessionAffinityConfig", "clientIP", "timeoutSeconds")
		return field.ErrorList{field.Invalid(path, timeout, fmt.Sprintf("must be greater than 0 and less than %d", maxAffinitySeconds))}
	}
	return nil
}

// maxAffinitySeconds is a day. The check admits it although its text says "less".
const maxAffinitySeconds = 86400

// validatePortUse checks node ports against the type, and ports against each other.
func validatePortUse(s *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Spec.Type == corev1.ServiceTypeClusterIP {
		for i := range s.Spec.Ports {
			if s.Spec.Ports[i].NodePort != 0 {
				errs = append(errs, field.Forbidden(path.Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			}
		}
	}
	nodePorts, ports := sets.New[corev1.ServicePort](), sets.New[corev1.ServicePort]()
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		key := corev1.ServicePort{Protocol: p.Protocol, NodePort: p.NodePort}
		if p.NodePort != 0 && nodePorts.Has(key) {
			errs = append(errs, field.Duplicate(path.Index(i).Child("nodePort"), p.NodePort))
		}
		nodePorts.Insert(key)
	}
	for i := range s.Spec.Ports {
		key := corev1.ServicePort{Protocol: s.Spec.Ports[i].Protocol, Port: s.Spec.Ports[i].Port}
		if ports.Has(key) {
			errs = append(errs, field.Duplicate(path.Index(i), key))
		}
		ports.Insert(key)
	}
	return errs
}

func validateTrafficPolicies(s *corev1.Service, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	policy := s.Spec.ExternalTrafficPolicy
	path := spec.Child("externalTrafficPolicy")
	switch {
	case policy != "" && !externallyAccessible(s):
		errs = append(errs, field.Invalid(path, policy, "may only be set for externally-accessible services"))
	case policy != "" && !supportedExternal.Has(policy):
		errs = append(errs, field.NotSupported(path, policy, sets.List(supportedExternal)))
	}
	if p := s.Spec.HealthCheckNodePort; p != 0 {
		path := spec.Child("healthCheckNodePort")
		if needsHealthCheck(s) {
			errs = append(errs, invalids(path, p, validation.IsValidPortNum(int(p)))...)
		} else {
			errs = append(errs, field.Invalid(path, p, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
		}
	}
	if p := s.Spec.InternalTrafficPolicy; p != nil && !supportedInternal.Has(*p) {
		errs = append(errs, field.NotSupported(spec.Child("internalTrafficPolicy"), *p, sets.List(supportedInternal)))
	}
	if d := s.Spec.TrafficDistribution; d != nil && !supportedDistributions.Has(*d) {
		errs = append(errs, field.NotSupported(spec.Child("trafficDistribution"), *d, sets.List(supportedDistributions)))
	}
	return errs
}

// invalids makes one error of each message, all about the same value.
func invalids(path *field.Path, value any, msgs []string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range msgs {
		errs = append(errs, field.Invalid(path, value, msg))
	}
	return errs
}
