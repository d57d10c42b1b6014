package kube

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// workload is what the objects that make pods have in common.
type workload struct {
	kind     string // as the API server writes it of an empty selector
	meta     metav1.ObjectMeta
	replicas *int32
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
}

// ValidateDeployment checks what matters to a network of a Deployment: its name,
// its selector, and the pods that it makes.
func ValidateDeployment(d *appsv1.Deployment) field.ErrorList {
	return validateWorkload(workload{"deployment", d.ObjectMeta, d.Spec.Replicas, d.Spec.Selector, d.Spec.Template}, apivalidation.NameIsDNSSubdomain)
}

// ValidateReplicaSet is [ValidateDeployment] for a ReplicaSet.
func ValidateReplicaSet(r *appsv1.ReplicaSet) field.ErrorList {
	return validateWorkload(workload{"deployment", r.ObjectMeta, r.Spec.Replicas, r.Spec.Selector, r.Spec.Template}, apivalidation.NameIsDNSSubdomain)
}

// ValidateStatefulSet is [ValidateDeployment] for a StatefulSet, whose name is part
// of its pods' host names and hence a DNS label.
func ValidateStatefulSet(s *appsv1.StatefulSet) field.ErrorList {
	return validateWorkload(workload{"statefulset", s.ObjectMeta, s.Spec.Replicas, s.Spec.Selector, s.Spec.Template}, apivalidation.NameIsDNSLabel)
}

// ValidateDaemonSet is [ValidateDeployment] for a DaemonSet.
func ValidateDaemonSet(d *appsv1.DaemonSet) field.ErrorList {
	return validateWorkload(workload{"daemonset", d.ObjectMeta, nil, d.Spec.Selector, d.Spec.Template}, apivalidation.NameIsDNSSubdomain)
}

func validateWorkload(w workload, name apivalidation.ValidateNameFunc) field.ErrorList {
	if w.meta.Namespace == "" {
		w.meta.Namespace = corev1.NamespaceDefault
	}
	errs := apivalidation.ValidateObjectMeta(&w.meta, true, name, field.NewPath("metadata"))
	spec := field.NewPath("spec")
	if w.replicas != nil {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(*w.replicas), spec.Child("replicas"))...)
	}
	errs = append(errs, validateWorkloadSelector(&w, spec)...)
	t, path := w.template.DeepCopy(), spec.Child("template")
	for _, c := range [][]corev1.Container{t.Spec.InitContainers, t.Spec.Containers} {
		for i := range c {
			defaultContainerPorts(c[i].Ports, t.Spec.HostNetwork)
		}
	}
	errs = append(errs, metav1validation.ValidateLabels(t.Labels, path.Child("metadata", "labels"))...)
	return append(errs, validatePodSpec(&t.Spec, path.Child("spec"))...)
}

func validateWorkloadSelector(w *workload, spec *field.Path) field.ErrorList {
	path := spec.Child("selector")
	if w.selector == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	errs := metav1validation.ValidateLabelSelector(w.selector, metav1validation.LabelSelectorValidationOptions{}, path)
	if len(w.selector.MatchLabels)+len(w.selector.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(path, w.selector, "empty selector is invalid for "+w.kind))
	}
	sel, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return append(errs, field.Invalid(path, w.selector, "invalid label selector"))
	}
	if !sel.Matches(labels.Set(w.template.Labels)) {
		errs = append(errs, field.Invalid(spec.Child("template", "metadata", "labels"), w.template.Labels, "`selector` does not match template `labels`"))
	}
	return errs
}
