package faceoff

import (
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/topo"
)

// example is the scene of examples/faceoff.yaml.
func example(t testing.TB) *Scene { return sceneOf(t, "../../examples/faceoff.yaml") }

// sceneOf is a scenario file without its steps.
func sceneOf(t testing.TB, file string) *Scene {
	t.Helper()
	if _, diags := topo.Load(file); diags.HasErrors() {
		t.Fatal(diags.Err())
	}
	return &Scene{Name: "test", File: file, Lab: func(v Variant, f func(*emu.Lab) error) error {
		sc, diags := topo.Loader{Design: v.Design}.Load(file)
		if err := diags.Err(); err != nil {
			return err
		}
		return sc.Lab(topo.RunConfig{Seed: v.Seed, Design: v.Design, MTU: v.MTU, Settle: v.Settle}, f)
	}}
}

// compare runs a comparison that must succeed.
func compare(t testing.TB, s *Scene, cfg Config) *Result {
	t.Helper()
	r, err := Run(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
