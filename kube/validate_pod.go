package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidatePod checks what matters to a network of a Pod, after filling in
// defaults on a copy: its name and labels, its containers' names and ports, its
// address. Images are not required, as nothing is run from them.
func ValidatePod(p *corev1.Pod) field.ErrorList {
	p = p.DeepCopy()
	DefaultPod(p)
	return validatePod(p)
}

func validatePod(p *corev1.Pod) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&p.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, validatePodSpec(&p.Spec, field.NewPath("spec"))...)
	return append(errs, validatePodIPs(&p.Status, field.NewPath("status"))...)
}

// validatePodSpec is the part that the templates of workloads share.
func validatePodSpec(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Containers) == 0 {
		errs = append(errs, field.Required(path.Child("containers"), ""))
	}
	names := sets.New[string]() // of all kinds of containers
	errs = append(errs, validateContainers(s.Containers, names, path.Child("containers"), s.HostNetwork)...)
	errs = append(errs, validateContainers(s.InitContainers, names, path.Child("initContainers"), s.HostNetwork)...)
	if s.Hostname != "" {
		errs = append(errs, invalids(path.Child("hostname"), s.Hostname, validation.IsDNS1123Label(s.Hostname))...)
	}
	if s.Subdomain != "" {
		errs = append(errs, invalids(path.Child("subdomain"), s.Subdomain, validation.IsDNS1123Label(s.Subdomain))...)
	}
	return errs
}

func validateContainers(list []corev1.Container, names sets.Set[string], path *field.Path, hostNetwork bool) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		c, at := &list[i], path.Index(i)
		switch {
		case c.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case names.Has(c.Name):
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		default:
			errs = append(errs, invalids(at.Child("name"), c.Name, validation.IsDNS1123Label(c.Name))...)
			names.Insert(c.Name)
		}
		errs = append(errs, validateContainerPorts(c.Ports, at.Child("ports"), hostNetwork)...)
	}
	return append(errs, validateHostPorts(list, path)...)
}

func validateContainerPorts(ports []corev1.ContainerPort, path *field.Path, hostNetwork bool) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range ports {
		p, at := &ports[i], path.Index(i)
		if p.Name != "" {
			msgs := validation.IsValidPortName(p.Name)
			errs = append(errs, invalids(at.Child("name"), p.Name, msgs)...)
			if len(msgs) == 0 && names.Has(p.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
			}
			names.Insert(p.Name)
		}
		if p.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, invalids(at.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort)))...)
		}
		if p.HostPort != 0 {
			errs = append(errs, invalids(at.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort)))...)
			if hostNetwork && p.HostPort != p.ContainerPort {
				errs = append(errs, field.Invalid(at.Child("containerPort"), p.ContainerPort, "must match `hostPort` when `hostNetwork` is true"))
			}
		}
		if !supportedProtocols.Has(p.Protocol) {
			errs = append(errs, field.NotSupported(at.Child("protocol"), p.Protocol, sets.List(supportedProtocols)))
		}
	}
	return errs
}

// validateHostPorts finds host ports used twice within a pod.
func validateHostPorts(list []corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i := range list {
		for j, p := range list[i].Ports {
			if p.HostPort == 0 {
				continue
			}
			key := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
			if seen.Has(key) {
				errs = append(errs, field.Duplicate(path.Index(i).Child("ports").Index(j).Child("hostPort"), key))
			}
			seen.Insert(key)
		}
	}
	return errs
}

func validatePodIPs(s *corev1.PodStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.PodIP != "" {
		errs = append(errs, validation.IsValidIPForLegacyField(path.Child("podIP"), s.PodIP, true, nil)...)
	}
	for i := range s.PodIPs {
		errs = append(errs, validation.IsValidIPForLegacyField(path.Child("podIPs").Index(i).Child("ip"), s.PodIPs[i].IP, true, nil)...)
	}
	return errs
}
