package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/topo"
)

// maxSeeds bounds --seeds; every run is a process.
const maxSeeds = 100_000

// parseSeeds reads "N", so many seeds from first on, or "A-B".
func parseSeeds(text string, first uint64) (seeds []uint64, err error) {
	bad := fmt.Errorf("--seeds: found %q, want a number of seeds such as 20, or a range such as 100-119, at most %d", text, maxSeeds)
	low, high, ranged := strings.Cut(text, "-")
	from, err := strconv.ParseUint(low, 10, 64)
	if err != nil {
		return nil, bad
	}
	count := from
	if ranged {
		to, err := strconv.ParseUint(high, 10, 64)
		if err != nil || to < from || to-from >= maxSeeds {
			return nil, bad
		}
		first, count = from, to-from+1
	}
	if count == 0 || count > maxSeeds {
		return nil, bad
	}
	for i := range count {
		seeds = append(seeds, first+i)
	}
	return seeds, nil
}

// runSeeds plays the scenario with several seeds, each in a process of its own.
func (f *runFlags) runSeeds(c *cobra.Command, cfg topo.RunConfig, sc *topo.Scenario, files []string) error {
	switch {
	case f.pcap != "":
		return errors.New("--pcap is for one run, want no --seeds; a seed's packets: --seed N --pcap FILE")
	case f.fuzz:
		return errors.New("found --seeds and --fuzz-faults, want one of them")
	}
	first := sc.Seed.Value
	if cfg.Seed != nil {
		first = *cfg.Seed
	}
	seeds, err := parseSeeds(f.seeds, first)
	if err != nil {
		return err
	}
	var jobs []*job
	var results []topo.SeedResult
	for _, seed := range seeds {
		jobs = append(jobs, &job{Files: files, Design: cfg.Design, Seed: &seed, RealTime: f.realTime})
		results = append(results, topo.SeedResult{Seed: seed, Command: f.command(files, seed)})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	line, done := progressLine(c.ErrOrStderr())
	played, err := doAll(ctx, jobs, runtime.GOMAXPROCS(0), func(n int) {
		if line != nil {
			line(n, len(seeds), "seeds")
		}
	})
	done()
	if ctx.Err() != nil {
		os.Exit(exitInterrupted)
	}
	if err != nil {
		return err
	}
	verdicts := make([]*topo.Verdict, len(played))
	wrong := false
	for i, r := range played {
		verdicts[i] = r.Verdict
		switch results[i].Error = r.Error; {
		case r.crashed:
			results[i].Error = "crashed: " + r.Error
		case r.stalled:
			results[i].Error = "stood still: " + r.Error
		case r.Error != "":
			wrong = true
		}
	}
	s := topo.NewSpread(results, verdicts)
	if err := f.printSpread(c, s); err != nil {
		return err
	}
	switch {
	case wrong:
		return errReported
	case !s.Passed:
		return errFailed
	}
	return nil
}

func (f *runFlags) printSpread(c *cobra.Command, s *topo.Spread) error {
	if *f.output == "json" {
		return writeJSON(c.OutOrStdout(), s)
	}
	return s.WriteText(c.OutOrStdout())
}

// command is how one seed is played again.
func (f *runFlags) command(files []string, seed uint64) string {
	words := append([]string{"podwire", "run"}, files...)
	words = append(words, "--seed", strconv.FormatUint(seed, 10))
	if f.design != "" {
		words = append(words, "--design", f.design)
	}
	if f.realTime {
		words = append(words, "--real-time")
	}
	for i, w := range words {
		if strings.ContainsAny(w, " \t'\"\\$&|;<>()*?[]#~`!{}") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
