package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/podwire/podwire/emu/anatomy"
	"github.com/podwire/podwire/emu/virtual"
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

// takeApart prints the anatomy of a design.
func takeApart(w io.Writer, name string, format output) error {
	if _, err := findDesign(name); err != nil {
		return err
	}
	var a *anatomy.Anatomy
	err := virtual.Run(func(settle func()) error {
		var err error
		a, err = anatomy.Of(name, settle)
		return err
	})
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(w, a)
	}
	return a.WriteText(w)
}
