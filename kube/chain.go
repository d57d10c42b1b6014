package kube

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// chainSuffix is the part of a chain name that identifies a Service port or one
// of its endpoints: the first 16 characters of the base32 of the SHA-256 of its
// name, because the kernel allows 28 characters in all.
func chainSuffix(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base32.StdEncoding.EncodeToString(sum[:10]) // 80 bits are 16 characters
}

// ServicePortName names a port of a Service as kube-proxy does in comments and
// in chain hashes: "default/web:http", or "default/web" if the port is unnamed.
func ServicePortName(namespace, name, port string) string {
	if port == "" {
		return namespace + "/" + name
	}
	return namespace + "/" + name + ":" + port
}

// ServiceChain returns the chain of a Service port for the Cluster traffic
// policy, KUBE-SVC-*, given its ServicePortName.
func ServiceChain(portName string, protocol corev1.Protocol) string {
	return "KUBE-SVC-" + chainSuffix(portName+lower(protocol))
}

// EndpointChain returns the chain that sends to one endpoint, KUBE-SEP-*, given
// the ServicePortName and the endpoint's "address:port".
func EndpointChain(portName string, protocol corev1.Protocol, endpoint string) string {
	return "KUBE-SEP-" + chainSuffix(portName+lower(protocol)+endpoint)
}

// lower is the protocol as iptables and the hashes spell it.
func lower(p corev1.Protocol) string { return strings.ToLower(string(p)) }
