package emu

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/stack"
)

// withSysctls returns cfg with kernel parameters set.
func withSysctls(cfg stack.Config, values map[string]string) (stack.Config, error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := cfg.SetSysctl(name, values[name]); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// podConfig is the network namespace of a pod: what it inherits from its node,
// and what its security context sets.
func (l *Lab) podConfig(name string, node *Node, pod *corev1.Pod) (stack.Config, error) {
	cfg := node.stack.NamespaceConfig()
	cfg.Name, cfg.OnDevice = name, l.newDevice
	if pod.Spec.SecurityContext == nil {
		return cfg, nil
	}
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		if err := cfg.SetSysctl(s.Name, s.Value); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}
