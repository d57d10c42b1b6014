package pcap

import (
	"fmt"
	"io"
	"os"
)

// Capture is a whole file in memory.
type Capture struct {
	Section    Section     // the first one
	Interfaces []Interface // Packet.Interface is an index into them
	Packets    []Packet    // in the order of the file
	Names      []Name
	Secrets    []Secrets
	Statistics map[int]Statistics // by index into Interfaces
}

// On returns the packets captured at the interfaces with the given name, in
// the order of the file.
func (c *Capture) On(name string) []Packet {
	var on []Packet
	for _, p := range c.Packets {
		if c.Interfaces[p.Interface].Name == name {
			on = append(on, p)
		}
	}
	return on
}

// ReadFile reads the capture at path. With an error comes what was read
// before it, so that a truncated capture is of use, or nil if path holds no
// capture at all.
func ReadFile(path string) (*Capture, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("pcap: %w", err)
	}
	defer f.Close()
	c, err := ReadAll(f)
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ReadAll is ReadFile for a reader: it reads until the end of in.
func ReadAll(in io.Reader) (*Capture, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	c := &Capture{Section: r.Section()}
	for err == nil {
		var p Packet
		if p, err = r.Next(); err == nil {
			c.Packets = append(c.Packets, p)
		}
	}
	c.Interfaces, c.Names, c.Secrets, c.Statistics = r.Interfaces(), r.Names(), r.Secrets(), r.statistics
	if err != io.EOF {
		return c, err
	}
	return c, nil
}
