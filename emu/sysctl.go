package emu

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/stack"
)

// withSysctls returns cfg with kernel parameters set, those that only accepts;
// nil accepts all.
func withSysctls(cfg stack.Config, values map[string]string, only func(name string) bool) (stack.Config, error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if only != nil && !only(name) {
			continue
		}
		if err := cfg.SetSysctl(name, values[name]); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// podConfig is the network namespace of a pod: what it inherits from its node,
// and what its security context sets.
func (l *Lab) podConfig(name string, pod *corev1.Pod) (stack.Config, error) {
	cfg, err := withSysctls(stack.Config{Name: name, OnDevice: l.newDevice}, l.cfg.Sysctls, stack.InheritedSysctl)
	if err != nil || pod.Spec.SecurityContext == nil {
		return cfg, err
	}
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		if err := cfg.SetSysctl(s.Name, s.Value); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}
