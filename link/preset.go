package link

import "time"

// A Preset is what a well-known kind of path is like. Its figures are those of
// one cable: where a packet crosses two, give them to one of them.
type Preset struct {
	Name    string
	Summary string     // one line
	Source  string     // where the figures are from
	Up      WireConfig // from the machine
	Down    WireConfig // to the machine
}

// presets is the list of all presets.
var presets = []Preset{
	{
		Name:    "datacenter",
		Summary: "10 Gbit/s; a round trip of 0.2 ms between two machines, each with such a cable",
		Source:  "median round trips of 216 µs within and 268 µs between podsets, in C. Guo et al.: Pingmesh, SIGCOMM 2015",
		Up:      WireConfig{Rate: 10e9, Latency: 50 * time.Microsecond},
		Down:    WireConfig{Rate: 10e9, Latency: 50 * time.Microsecond},
	},
	{
		Name:    "wan",
		Summary: "1 Gbit/s; 22.5 ms each way; 0.01 % of all frames are lost",
		Source:  "45 ms round trip across North America: Verizon's network latency guarantee, which allows a loss of 0.5 %; the rate and the smaller loss are round figures of podwire",
		Up:      WireConfig{Rate: 1e9, Latency: 22_500 * time.Microsecond, Loss: 0.0001},
		Down:    WireConfig{Rate: 1e9, Latency: 22_500 * time.Microsecond, Loss: 0.0001},
	},
	{
		Name:    "lte",
		Summary: "13 Mbit/s down, 6 Mbit/s up; 35 ms each way with a long tail; deep queues",
		Source:  "median rates and round trip of 70 ms in J. Huang et al.: A Close Examination of Performance and Power Characteristics of 4G LTE Networks, MobiSys 2012; jitter and queues are round figures of podwire",
		Up:      WireConfig{Rate: 6e6, Latency: 35 * time.Millisecond, Jitter: Jitter{Spread: 5 * time.Millisecond, Shape: ParetoJitter}, QueueBytes: 1 << 20},
		Down:    WireConfig{Rate: 13e6, Latency: 35 * time.Millisecond, Jitter: Jitter{Spread: 5 * time.Millisecond, Shape: ParetoJitter}, QueueBytes: 2 << 20},
	},
	{
		Name:    "satellite",
		Summary: "geostationary: 279 ms each way, 25 Mbit/s down, 3 Mbit/s up",
		Source:  "propagation at the edge of a satellite's view: RFC 2488 §2; rates of a consumer plan (HughesNet Gen5, 2017)",
		Up:      WireConfig{Rate: 3e6, Latency: 279 * time.Millisecond},
		Down:    WireConfig{Rate: 25e6, Latency: 279 * time.Millisecond},
	},
}

// Presets returns all presets, in the order in which they are documented.
func Presets() []Preset { return append([]Preset(nil), presets...) }

// FindPreset returns the preset of that name.
func FindPreset(name string) (Preset, bool) {
	for _, p := range presets {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}
