package main

import (
	"fmt"
	"strings"

	"github.com/podwire/podwire/internal/typo"
	"github.com/podwire/podwire/overlay"
)

// designNames lists the designs by name.
func designNames() []string {
	var names []string
	for _, d := range overlay.Designs() {
		names = append(names, d.Name)
	}
	return names
}

// findDesign finds a design that was named on the command line.
func findDesign(name string) (overlay.Design, error) {
	d, ok := overlay.Find(name)
	if ok {
		return d, nil
	}
	if near := typo.Nearest(name, designNames()); near != "" {
		return d, fmt.Errorf("found %q, want a design; hint: did you mean %q?", name, near)
	}
	return d, fmt.Errorf("found %q, want a design: %s", name, strings.Join(designNames(), ", "))
}
