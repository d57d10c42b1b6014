package pcap

// Block types, draft-ietf-opsawg-pcapng section 4 and, for the packet block,
// appendix A.
const (
	blockInterface      = 1
	blockPacket         = 2 // obsolete, still found in old files
	blockSimplePacket   = 3
	blockNames          = 4
	blockStatistics     = 5
	blockEnhancedPacket = 6
	blockSecrets        = 0x0000000a
	blockSection        = 0x0a0d0d0a // the same in both byte orders
)

// Every block is
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                          Block Type                           |
//	|                      Block Total Length                       |
//	|               Block Body, padded to 32 bits ...               |
//	|                      Block Total Length                       |
//	+---------------------------------------------------------------+
const (
	blockHeaderLen   = 8
	blockOverhead    = blockHeaderLen + 4
	byteOrderMagic   = 0x1a2b3c4d
	sectionFixedLen  = 16 // magic, version, section length
	ifaceFixedLen    = 8  // link type, reserved, snapshot length
	enhancedFixedLen = 20 // interface, time, captured and original length
	statsFixedLen    = 12 // interface, time
	secretsFixedLen  = 8  // type, length
)

// Option codes. Codes from 2 up mean something else in each block type.
const (
	optEnd     = 0
	optComment = 1

	optHardware    = 2 // section
	optSectionOS   = 3
	optApplication = 4

	optIfName        = 2 // interface
	optIfDescription = 3
	optIfIPv4        = 4
	optIfIPv6        = 5
	optIfMAC         = 6
	optIfSpeed       = 8
	optIfTSResol     = 9
	optIfOS          = 12
	optIfTSOffset    = 14

	optFlags     = 2 // enhanced packet, and packet
	optDropCount = 4
	optPacketID  = 5

	optStart    = 2 // statistics
	optStop     = 3
	optReceived = 4
	optDropped  = 5
)

// Record types of a name resolution block.
const (
	recordEnd  = 0
	recordIPv4 = 1
	recordIPv6 = 2
)

const (
	// maxText is the longest option or name value: its length has 16 bits.
	maxText = 1<<16 - 1

	// maxBlock bounds what the reader holds in memory for one block, and what
	// the writer emits. It is Wireshark's own limit.
	maxBlock = 16 << 20
)
