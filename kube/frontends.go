package kube

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// labelProxyName names another proxy that is to serve a Service; kube-proxy
// leaves such Services alone.
const labelProxyName = "service.kubernetes.io/service-proxy-name"

// proxied reports whether kube-proxy makes IPv4 rules for a Service.
func proxied(s *corev1.Service) bool {
	if s.Spec.Type == corev1.ServiceTypeExternalName || s.Labels[labelProxyName] != "" {
		return false
	}
	ip, err := netip.ParseAddr(s.Spec.ClusterIP)
	return err == nil && ip.Is4()
}

// frontends fills in the addresses at which the port is reached.
func (p *servicePort) frontends() {
	for _, ip := range p.svc.Spec.ExternalIPs {
		p.externalIPs = appendIPv4(p.externalIPs, ip)
	}
	for _, in := range p.svc.Status.LoadBalancer.Ingress {
		// ipMode Proxy means that the balancer delivers to node ports itself and
		// must not be bypassed (KEP-1860).
		if in.IPMode == nil || *in.IPMode == corev1.LoadBalancerIPModeVIP {
			p.vips = appendIPv4(p.vips, in.IP)
		}
	}
	for _, r := range p.svc.Spec.LoadBalancerSourceRanges {
		if prefix, err := netip.ParsePrefix(strings.TrimSpace(r)); err == nil && prefix.Addr().Is4() {
			p.sources = append(p.sources, prefix.Masked())
		}
	}
}

func appendIPv4(list []string, s string) []string {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Is4() {
		return append(list, ip.String())
	}
	return list
}

// affinitySeconds returns how long a client keeps its endpoint, 0 for no affinity.
func (p *servicePort) affinitySeconds() int32 {
	if p.svc.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	return *p.svc.Spec.SessionAffinityConfig.ClientIP.TimeoutSeconds
}

// healthCheckNodePort returns the port nodes answer health checks on, 0 for none.
func (p *servicePort) healthCheckNodePort() int32 {
	if !needsHealthCheck(p.svc) {
		return 0
	}
	return p.svc.Spec.HealthCheckNodePort
}
