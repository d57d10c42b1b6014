package kube

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateClusterIPs checks the address fields against each other. Whether an
// address can be had is the allocator's business.
func validateClusterIPs(s *corev1.Service, spec *field.Path) field.ErrorList {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var errs field.ErrorList
	path, ips := spec.Child("clusterIPs"), s.Spec.ClusterIPs
	if s.Spec.ClusterIP == "" && len(ips) > 0 {
		errs = append(errs, field.Invalid(path, ips, "must be empty when `clusterIP` is not specified"))
	}
	if s.Spec.ClusterIP != "" && ips[0] != s.Spec.ClusterIP {
		errs = append(errs, field.Invalid(path, ips, "first value must match `clusterIP`"))
	}
	for i, ip := range ips {
		switch {
		case i == 0 && ip == corev1.ClusterIPNone:
			if len(ips) > 1 {
				errs = append(errs, field.Invalid(path, ips, "'None' must be the first and only value"))
			}
		default:
			errs = append(errs, validation.IsValidIPForLegacyField(path.Index(i), ip, true, nil)...)
		}
	}
	if len(ips) > 2 {
		errs = append(errs, field.Invalid(path, ips, "may only hold up to 2 values"))
	}
	return errs
}

// validateClusterIPUpdate holds a Service to its address.
func validateClusterIPUpdate(old, s *corev1.Service) field.ErrorList {
	if old.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.Type == corev1.ServiceTypeExternalName || old.Spec.ClusterIP == s.Spec.ClusterIP {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs").Index(0), s.Spec.ClusterIPs, "may not change once set")}
}

// validateExternalIP rejects what no router would bring to a node.
func validateExternalIP(ip string, path *field.Path) field.ErrorList {
	if errs := validation.IsValidIPForLegacyField(path, ip, true, nil); len(errs) > 0 {
		return errs
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return field.ErrorList{field.Invalid(path, ip, "must be a valid IP address")}
	}
	var msgs []string
	if addr.IsUnspecified() {
		msgs = append(msgs, fmt.Sprintf("may not be unspecified (%s)", ip))
	}
	if addr.IsLoopback() {
		msgs = append(msgs, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
	}
	if addr.IsLinkLocalUnicast() {
		msgs = append(msgs, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
	}
	if addr.IsLinkLocalMulticast() {
		msgs = append(msgs, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
	}
	return invalids(path, ip, msgs)
}

// validateSourceRanges checks the fields that only load balancers have.
func validateSourceRanges(s *corev1.Service, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	const detail = "may only be used when `type` is 'LoadBalancer'"
	isLB := s.Spec.Type == corev1.ServiceTypeLoadBalancer
	if len(s.Spec.LoadBalancerSourceRanges) > 0 {
		path := spec.Child("LoadBalancerSourceRanges") // spelt so in Kubernetes too
		if !isLB {
			errs = append(errs, field.Forbidden(path, detail))
		}
		for i, r := range s.Spec.LoadBalancerSourceRanges {
			errs = append(errs, validation.IsValidCIDRForLegacyField(path.Index(i), strings.TrimSpace(r), true, nil)...)
		}
	}
	if s.Spec.AllocateLoadBalancerNodePorts != nil && !isLB {
		errs = append(errs, field.Forbidden(spec.Child("allocateLoadBalancerNodePorts"), detail))
	}
	if s.Spec.LoadBalancerClass != nil {
		path, class := spec.Child("loadBalancerClass"), *s.Spec.LoadBalancerClass
		if isLB {
			errs = append(errs, invalids(path, class, validation.IsQualifiedName(class))...)
		} else {
			errs = append(errs, field.Forbidden(path, detail))
		}
	}
	return errs
}

// validateIngressStatus checks what a load balancer controller would have written.
func validateIngressStatus(s *corev1.Service, path *field.Path) field.ErrorList {
	ingress := s.Status.LoadBalancer.Ingress
	if len(ingress) > 0 && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return field.ErrorList{field.Forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")}
	}
	var errs field.ErrorList
	for i := range ingress {
		if ingress[i].IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(path.Index(i).Child("ip"), ingress[i].IP, true, nil)...)
		}
	}
	return errs
}
