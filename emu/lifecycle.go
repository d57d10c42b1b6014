package emu

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SetReady says whether the pod's readiness probe succeeds. A pod that is not
// ready goes on running, and gets no new connections from Services, save those
// that publish addresses that are not ready.
func (l *Lab) SetReady(p *Pod, ready bool) error {
	if p == nil {
		return errNil
	}
	return l.change(func() error {
		if err := l.checkPod(p); err != nil {
			return err
		}
		status := corev1.ConditionFalse
		if ready {
			status = corev1.ConditionTrue
		}
		s := &p.spec.Status
		s.Conditions = slices.DeleteFunc(s.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: status})
		return l.cluster.UpdatePod(p.spec)
	})
}

// SetEndpoint takes a pod's address out of every EndpointSlice, or lists it again;
// the pod runs on, and whoever knows its address reaches it.
func (l *Lab) SetEndpoint(p *Pod, listed bool) error {
	if p == nil {
		return errNil
	}
	return l.change(func() error {
		if err := l.checkPod(p); err != nil {
			return err
		}
		return l.cluster.Withhold(p.spec.Namespace, p.spec.Name, !listed)
	})
}

// Terminate begins to delete a pod, as kubectl delete does: from now on it is a
// terminating endpoint, which Services use only if they have no ready one. It
// serves until the grace period has passed, and is removed then. Terminate
// returns at once.
func (l *Lab) Terminate(p *Pod, grace time.Duration) error {
	switch {
	case p == nil:
		return errNil
	case grace < 0:
		return fmt.Errorf("emu: pod %s: grace period %v, want 0 or more", p.name, grace)
	}
	return l.change(func() error {
		if err := l.checkPod(p); err != nil {
			return err
		}
		if p.spec.DeletionTimestamp != nil {
			return fmt.Errorf("emu: pod %s is terminating already", p.name)
		}
		end := metav1.NewTime(l.drv.Epoch().Add(l.drv.Now() + grace))
		seconds := int64(grace / time.Second)
		p.spec.DeletionTimestamp, p.spec.DeletionGracePeriodSeconds = &end, &seconds
		if err := l.cluster.UpdatePod(p.spec); err != nil {
			return err
		}
		l.work(func() error {
			l.drv.Sleep(grace)
			gone := false
			l.drv.Do(func() { gone = l.closed || l.checkPod(p) != nil })
			if gone {
				return nil
			}
			return l.RemovePod(p)
		})
		return nil
	})
}

// checkPod reports whether a pod is still there. The caller holds the lock.
func (l *Lab) checkPod(p *Pod) error {
	if !slices.Contains(l.pods, p) {
		return fmt.Errorf("emu: pod %s was removed before", p.name)
	}
	return nil
}
