//go:build !linux

package tap

import (
	"errors"
	"fmt"
	"runtime"
)

func open(cfg Config) (*Device, error) {
	return nil, fmt.Errorf("tap: %s: %w: %s has no such devices, want Linux", cfg.Name, errors.ErrUnsupported, runtime.GOOS)
}
