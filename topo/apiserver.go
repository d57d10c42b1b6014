package topo

import (
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// enums are the closed sets of values among the API's string types, in the order
// in which the API server lists them.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[corev1.ServiceType]():                  {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"},
	reflect.TypeFor[corev1.Protocol]():                     {"SCTP", "TCP", "UDP"},
	reflect.TypeFor[corev1.ServiceAffinity]():              {"ClientIP", "None"},
	reflect.TypeFor[corev1.ServiceExternalTrafficPolicy](): {"Cluster", "Local"},
	reflect.TypeFor[corev1.ServiceInternalTrafficPolicy](): {"Cluster", "Local"},
	reflect.TypeFor[networkingv1.PathType]():               {"Exact", "ImplementationSpecific", "Prefix"},
	reflect.TypeFor[networkingv1.PolicyType]():             {"Egress", "Ingress"},
	reflect.TypeFor[discoveryv1.AddressType]():             {"FQDN", "IPv4", "IPv6"},
}

// unsupported is the API server's text for a value outside a closed set.
func unsupported(path, value string, known []string) string {
	return fmt.Sprintf("%s: Unsupported value: %q: supported values: %q", path, value, known[0]) + quotedTail(known[1:])
}

func quotedTail(words []string) string {
	var b strings.Builder
	for _, w := range words {
		fmt.Fprintf(&b, ", %q", w)
	}
	return b.String()
}

// invalidValue is the API server's text for each reason why a value is invalid.
func invalidValue(path, value string, reasons []string) []string {
	var out []string
	for _, r := range reasons {
		out = append(out, fmt.Sprintf("%s: Invalid value: %q: %s", path, value, r))
	}
	return out
}

// invalid is the API server's answer for an object that does not validate;
// several reasons are wrapped in brackets.
func (dc *strictDecoder) invalid(reasons ...string) string {
	text := strings.Join(reasons, ", ")
	if len(reasons) > 1 {
		text = "[" + text + "]"
	}
	return fmt.Sprintf("API server: %s %q is invalid: %s", dc.obj.Kind, dc.obj.Name.Value, text)
}

// badRequest is the API server's answer, as kubectl prints it, for a manifest
// that does not decode.
func (dc *strictDecoder) badRequest(reason string) string {
	return fmt.Sprintf("Error from server (BadRequest): error when creating %q: %s in version %q cannot be handled as a %s: %s",
		dc.d.src.name, dc.obj.Kind, version(dc.obj.APIVersion), dc.obj.Kind, reason)
}

// version is the part of an apiVersion behind the group.
func version(apiVersion string) string {
	return apiVersion[strings.LastIndexByte(apiVersion, '/')+1:]
}
