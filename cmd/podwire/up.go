package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/topo"
)

// upFlags are the flags of podwire up.
type upFlags struct {
	runFlags
	after  int
	tap    string
	netns  string
	output *output
}

func newUp() *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up FILE",
		Short: "Hold the network of a scenario in real time, joined to this machine by a TAP, until Ctrl-C",
		Long: `up builds the network of a scenario and holds it in real time until it is
interrupted. Faults of the scenario happen at their times; its steps are played
only as --after says.

--tap joins this machine's kernel to the first segment of the underlay by a TAP
device of that name, with an address there and routes to pods and Services: ping,
curl and any other program reach them, and Wireshark can listen on the device. A
host of the scenario does the same if it says so: {name: laptop, tap: pw0}. The
device is gone with the network. It takes Linux, and root or CAP_NET_ADMIN; or a
device of your own (ip tuntap add pw0 mode tap user $USER), which is used as it is.

With --netns the device, its address and its routes are in a network namespace
(ip netns add lab), and this machine's own routes stay as they are.`,
		Example: `  sudo podwire up examples/quickstart.yaml --tap pw0
  sudo podwire up examples/quickstart.yaml --tap pw0 --netns lab
  podwire up examples/quickstart.yaml --pcap - | wireshark -k -i -`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error { return f.up(c, args[0]) },
	}
	c.Flags().StringVar(&f.tap, "tap", "", "join this machine by a TAP device of this `name`")
	c.Flags().StringVar(&f.netns, "netns", "", "make the device of --tap in this network `namespace`")
	c.Flags().StringVar(&f.pcap, "pcap", "", "write all packets to this pcapng `file`; - is standard output")
	c.Flags().IntVar(&f.after, "after", 0, "play the first `N` steps before")
	f.addBuild(c)
	f.output = addOutput(c)
	return c
}

// up builds the lab and waits.
func (f *upFlags) up(c *cobra.Command, file string) error {
	if f.netns != "" && f.tap == "" {
		return errors.New("--netns: found no --tap, want both; a host of the scenario has its own netns")
	}
	cfg, err := f.config()
	if err != nil {
		return err
	}
	sc, err := load(c, cfg.Design, file)
	if err != nil {
		return err
	}
	if f.after < 0 || f.after > len(sc.Steps) {
		return fmt.Errorf("--after: found %d, want a number of steps from 0 to %d", f.after, len(sc.Steps))
	}
	if err := keepInputs("--pcap", f.pcap, sc, file); err != nil {
		return err
	}
	out := c.OutOrStdout()
	if f.pcap == "-" {
		out = c.ErrOrStderr()
	}
	interrupt := notifyInterrupt()
	defer interrupt.stop()
	capture, err := f.capture(c.OutOrStdout(), sc, sc.Cluster.Design.Value)
	if err != nil {
		return err
	}
	defer capture.abort()
	cfg.OnBuild = capture.start
	cfg.OnWarning = func(w string) { fmt.Fprintln(c.ErrOrStderr(), "warning:", w) }
	err = sc.With(cfg, f.after, func(lab *emu.Lab, v *topo.Verdict) error {
		if err := f.addTAP(lab); err != nil {
			return err
		}
		if err := f.show(out, surveyLab(lab, v)); err != nil {
			return err
		}
		return hold(lab, interrupt)
	})
	return errors.Join(err, capture.commit())
}

// addTAP adds the TAP of --tap.
func (f *upFlags) addTAP(lab *emu.Lab) error {
	if f.tap == "" {
		return nil
	}
	routes, err := lab.TAPRoutes("")
	if err == nil {
		_, err = lab.AddTAP(emu.TAPConfig{Name: f.tap, Netns: f.netns, Routes: routes})
	}
	if err != nil {
		return fmt.Errorf("--tap: %w", err)
	}
	return nil
}

// hold returns when the user or a TAP has had enough.
func hold(lab *emu.Lab, interrupt interrupt) error {
	lost := make(chan *emu.TAP)
	stop := make(chan struct{})
	defer close(stop)
	for _, t := range lab.TAPs() {
		go func() {
			select {
			case <-t.Done():
			case <-stop:
				return
			}
			select {
			case lost <- t:
			case <-stop:
			}
		}()
	}
	select {
	case <-interrupt:
		interrupt.again()
		return nil
	case t := <-lost:
		return fmt.Errorf("tap %s: the device %s is gone: %w", t.Name(), t.Device(), t.Err())
	}
}

// upReport is what podwire up -o json prints once the network stands.
type upReport struct {
	Scenario string      `json:"scenario"`
	Design   string      `json:"design"`
	Seed     uint64      `json:"seed"`
	Machines []upMachine `json:"machines"`
	Services []upService `json:"services"`
	TAPs     []upTAP     `json:"taps"`
}

type upMachine struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	Node    string     `json:"node,omitempty"` // of a pod
	Ports   []string   `json:"ports,omitempty"`
}

type upService struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Address string   `json:"address"` // the cluster IP; "None" if it has none
	Ports   []string `json:"ports"`
}

type upTAP struct {
	Name    string     `json:"name"`
	Device  string     `json:"device"`
	Address netip.Addr `json:"address"`
}

func surveyLab(lab *emu.Lab, v *topo.Verdict) upReport {
	r := upReport{Scenario: v.Scenario, Design: v.Design, Seed: v.Seed, Machines: []upMachine{}, Services: []upService{}, TAPs: []upTAP{}}
	pods := make(map[string]*emu.Pod)
	for _, p := range lab.Pods() {
		pods[p.Name()] = p
	}
	for _, m := range lab.Machines() {
		um := upMachine{Name: m.Name(), Address: m.Addr()}
		if p := pods[m.Name()]; p != nil {
			um.Node = p.Node().Name()
			for _, c := range p.Spec().Spec.Containers {
				for _, port := range c.Ports {
					um.Ports = append(um.Ports, portText(port.ContainerPort, string(port.Protocol)))
				}
			}
		}
		r.Machines = append(r.Machines, um)
	}
	for _, s := range lab.Services() {
		us := upService{Name: s.Namespace + "/" + s.Name, Type: string(s.Spec.Type), Address: s.Spec.ClusterIP, Ports: []string{}}
		for _, p := range s.Spec.Ports {
			text := portText(p.Port, string(p.Protocol))
			if p.NodePort != 0 {
				text = fmt.Sprintf("%d:%s", p.Port, portText(p.NodePort, string(p.Protocol)))
			}
			us.Ports = append(us.Ports, text)
		}
		r.Services = append(r.Services, us)
	}
	for _, t := range lab.TAPs() {
		r.TAPs = append(r.TAPs, upTAP{t.Name(), t.Device(), t.Addr()})
	}
	return r
}

// portText is how kubectl writes a port.
func portText(port int32, protocol string) string {
	if protocol == "" {
		protocol = "TCP"
	}
	return fmt.Sprintf("%d/%s", port, protocol)
}

func (f *upFlags) show(w io.Writer, r upReport) error {
	if *f.output == "json" {
		return writeJSON(w, r)
	}
	fmt.Fprintf(w, "%s: %s, seed %d, real time\n\n", r.Scenario, r.Design, r.Seed)
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ADDRESS\tNAME\tPORTS")
	for _, m := range r.Machines {
		name := strings.TrimPrefix(m.Name, "default/")
		if m.Node != "" {
			name += " on " + m.Node
		}
		fmt.Fprintf(t, "%v\t%s\t%s\n", m.Address, name, strings.Join(m.Ports, ","))
	}
	for _, s := range r.Services {
		fmt.Fprintf(t, "%s\tService %s, %s\t%s\n", s.Address, strings.TrimPrefix(s.Name, "default/"), s.Type, strings.Join(s.Ports, ","))
	}
	for _, tap := range r.TAPs {
		fmt.Fprintf(t, "%v\tthis machine, by its device %s\t\n", tap.Address, tap.Device)
	}
	t.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	_, err := fmt.Fprintln(w, "\nup; Ctrl-C ends it")
	return err
}
