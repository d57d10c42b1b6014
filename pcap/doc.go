// Package pcap writes and reads packet captures.
//
//	w, err := pcap.NewWriter(out, pcap.Section{Application: "podwire", Comment: "quickstart, seed 1"})
//	eth0, err := w.AddInterface(pcap.Interface{Name: "default/web-0/eth0"})
//	err = w.WritePacket(&pcap.Packet{Interface: eth0, Time: now, Data: frame, ID: 7, Direction: pcap.In})
//	err = w.Close()
//
//	c, err := pcap.ReadFile("quickstart.pcapng")
//	for _, p := range c.Packets {
//		fmt.Println(p.Time, c.Interfaces[p.Interface].Name, p.Direction, p.Comments)
//	}
//
// The writer produces pcapng (draft-ietf-opsawg-pcapng), little-endian, with
// nanosecond timestamps, and what the other Go writers leave out: a packet id
// that is the same at every interface one packet crosses, the direction,
// comments, name records and decryption secrets. Wireshark shows them as
// frame.packet_id, frame.packet_flags_direction and frame.comment. The bytes
// depend on the arguments alone: no clock, no host name, no randomness.
//
// The reader accepts pcapng from any writer and the classic pcap format
// (draft-ietf-opsawg-pcap), in both byte orders. It is meant for files of
// unknown origin: no length field is believed before the bytes have arrived.
//
// The package knows bytes, times and names. It does not look into packets.
// No type is safe for concurrent use without a lock of the caller's.
package pcap
