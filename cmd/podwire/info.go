package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/overlay"
)

// designInfo is one line of podwire designs.
type designInfo struct {
	Name     string `json:"name"`
	Overhead int    `json:"overhead"` // bytes between the underlay's MTU and the pod's
	Summary  string `json:"summary"`
}

func newDesigns() *cobra.Command {
	var out *output
	c := &cobra.Command{
		Use:   "designs [NAME]",
		Short: "List the pod network designs that a scenario can name, or take one apart",
		Long: `Without a name, lists the designs that cluster.design of a scenario and --design
of podwire run can name.

With one, builds a small lab of two nodes with two pods each and prints what the
design has put on a node and into a pod: devices, addresses, routes, neighbours,
FDB, rules; then the way of a ping with its TTL at every point, and a traceroute.`,
		Example: `  podwire designs
  podwire designs flannel-vxlan
  podwire designs flannel-wireguard -o json`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return designNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return takeApart(c.OutOrStdout(), args[0], *out)
			}
			var list []designInfo
			for _, d := range overlay.Designs() {
				list = append(list, designInfo{d.Name, d.Overhead, d.Summary})
			}
			if *out == "json" {
				return writeJSON(c.OutOrStdout(), list)
			}
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tOVERHEAD\tWHAT IT IS")
			for _, d := range list {
				fmt.Fprintf(t, "%s\t%d\t%s\n", d.Name, d.Overhead, d.Summary)
			}
			return t.Flush()
		},
	}
	out = addOutput(c)
	return c
}

// versionInfo is what podwire version prints.
type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	GVisor  string `json:"gvisor"`
}

func newVersion() *cobra.Command {
	var out *output
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of podwire, Go and gVisor",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := versionInfo{Version: version(), Go: runtime.Version(), GVisor: moduleVersion("gvisor.dev/gvisor")}
			if *out == "json" {
				return writeJSON(c.OutOrStdout(), v)
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "podwire %s, %s, gVisor %s\n", v.Version, v.Go, v.GVisor)
			return err
		},
	}
	out = addOutput(c)
	return c
}

// version is the module's version, or "(devel)" for a build from a work tree.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// moduleVersion is the version of a dependency as it was built in.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "unknown"
}
