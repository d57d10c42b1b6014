//go:build !linux

package tap

import (
	"errors"
	"fmt"
	"runtime"
)

// SetCarrier tells the kernel whether the cable is plugged in.
func (d *Device) SetCarrier(bool) error { return errors.ErrUnsupported }

func open(cfg Config) (*Device, error) {
	return nil, fmt.Errorf("tap: %s: %w: %s has no such devices, want Linux", cfg.Name, errors.ErrUnsupported, runtime.GOOS)
}
