package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/topo"
)

// loader is what podwire knows when it reads files.
func loader() topo.Loader {
	ld := topo.Loader{Validators: map[string]topo.Validator{
		"Service":       validator(kube.ValidateService),
		"EndpointSlice": validator(kube.ValidateEndpointSlice),
		"Namespace":     validator(kube.ValidateNamespace),
		"Node":          validator(kube.ValidateNode),
		"Pod":           validator(kube.ValidatePod),
		"Deployment":    validator(kube.ValidateDeployment),
		"ReplicaSet":    validator(kube.ValidateReplicaSet),
		"StatefulSet":   validator(kube.ValidateStatefulSet),
		"DaemonSet":     validator(kube.ValidateDaemonSet),
	}}
	ld.Designs = designNames()
	return ld
}

// validator makes a check of one kind one of any object: package topo calls it for
// objects of that kind.
func validator[T runtime.Object](check func(T) field.ErrorList) topo.Validator {
	return func(o runtime.Object) field.ErrorList { return check(o.(T)) }
}

func newValidate() *cobra.Command {
	var out *output
	var fix bool
	c := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Explain every mistake in scenarios and Kubernetes manifests, without running them",
		Long: `validate reads scenarios and Kubernetes manifests and explains every mistake:
where it is, what was found, what Kubernetes would do with it, and what was
meant. Errors are what the API server refuses, and what podwire cannot build;
warnings what is accepted and does not work: a Service without endpoints, a target
port that no container has, a selector one label off, addresses and ports that
belong to somebody; notes what works and surprises. Files of manifests, and those
of a directory, are taken together. It exits with 2 if there is an error, else
with 0.`,
		Example: `  podwire validate examples/quickstart.yaml
  podwire validate service.yaml deployment.yaml -o json
  podwire validate manifests/
  podwire validate --fix service.yaml > fixed.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			if fix {
				return printFixed(c, files)
			}
			return validate(c, files, *out)
		},
	}
	c.Flags().BoolVar(&fix, "fix", false, "print the file with // comments made YAML comments, and nothing else")
	out = addOutput(c)
	return c
}

// validate prints what is to be said about the files.
func validate(c *cobra.Command, files []string, out output) error {
	files, err := expandDirs(files)
	if err != nil {
		return err
	}
	var all topo.Diagnostics
	for _, set := range together(files) {
		sc, diags := loader().Load(set[0], set[1:]...)
		if !diags.HasErrors() {
			diags = append(diags, check(set[0], sc)...)
		}
		all = append(all, diags...)
	}
	w := c.OutOrStdout()
	if out == "json" {
		if err := writeJSON(w, all); err != nil {
			return err
		}
	} else if err := writeFindings(w, files, all); err != nil {
		return err
	}
	if all.HasErrors() {
		return errReported
	}
	return nil
}

// together sorts files into sets: each scenario is one by itself, files of
// manifests alone belong to each other, as if they were applied together.
func together(files []string) [][]string {
	if len(files) == 1 {
		return [][]string{files}
	}
	var sets [][]string
	manifests := -1
	for _, f := range files {
		sc, _ := topo.Load(f)
		switch {
		case !sc.Plain():
			sets = append(sets, []string{f})
		case manifests < 0:
			manifests = len(sets)
			sets = append(sets, []string{f})
		default:
			sets[manifests] = append(sets[manifests], f)
		}
	}
	return sets
}

// check builds what the file describes, without playing it.
func check(file string, sc *topo.Scenario) topo.Diagnostics {
	var diags topo.Diagnostics
	err := virtual.Run(func(settle func()) error {
		diags = sc.Check(settle)
		return nil
	})
	if err != nil {
		diags = append(diags, topo.Diagnostic{Pos: topo.Pos{File: file}, Rule: "cannot-build", Message: err.Error()})
	}
	return diags
}

// writeFindings prints findings with their source lines, and says so if there are none.
func writeFindings(w io.Writer, files []string, all topo.Diagnostics) error {
	if err := all.WriteDetail(w); err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintf(w, "%s: no mistakes found\n", joinWords(files))
	}
	return nil
}

// printFixed prints one file as it was meant.
func printFixed(c *cobra.Command, files []string) error {
	if len(files) != 1 {
		return fmt.Errorf("--fix: found %d files, want one", len(files))
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	fixed, applied := topo.Fix(data)
	for _, d := range applied {
		fmt.Fprintln(c.ErrOrStderr(), d)
	}
	_, err = io.Copy(c.OutOrStdout(), bytes.NewReader(fixed))
	return err
}
