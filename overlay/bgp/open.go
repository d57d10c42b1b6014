package bgp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// NOTIFICATION codes and subcodes (RFC 4271 §6, RFC 4486, RFC 6608).
const (
	headerError   = bgp.BGP_ERROR_MESSAGE_HEADER_ERROR
	openError     = bgp.BGP_ERROR_OPEN_MESSAGE_ERROR
	updateError   = bgp.BGP_ERROR_UPDATE_MESSAGE_ERROR
	holdExpired   = bgp.BGP_ERROR_HOLD_TIMER_EXPIRED
	fsmError      = bgp.BGP_ERROR_FSM_ERROR
	cease         = bgp.BGP_ERROR_CEASE
	refreshError  = bgp.BGP_ERROR_ROUTE_REFRESH_MESSAGE_ERROR
	badSync       = bgp.BGP_ERROR_SUB_CONNECTION_NOT_SYNCHRONIZED
	badLength     = bgp.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH
	badType       = bgp.BGP_ERROR_SUB_BAD_MESSAGE_TYPE
	badVersion    = bgp.BGP_ERROR_SUB_UNSUPPORTED_VERSION_NUMBER
	badAS         = bgp.BGP_ERROR_SUB_BAD_PEER_AS
	badIdentifier = bgp.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER
	badParameter  = bgp.BGP_ERROR_SUB_UNSUPPORTED_OPTIONAL_PARAMETER
	badHoldTime   = bgp.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME

	ceaseNone         = 0
	ceaseShutdown     = bgp.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN
	ceaseDeconfigured = bgp.BGP_ERROR_SUB_PEER_DECONFIGURED
	ceaseCollision    = bgp.BGP_ERROR_SUB_CONNECTION_COLLISION_RESOLUTION
)

// capabilities are what an OPEN says of its sender.
type capabilities struct {
	IPv4            bool // multiprotocol, IPv4 unicast; also if none is mentioned
	Refresh         bool
	EnhancedRefresh bool
	AS4             bool
	AddPathTx       bool // it can send additional paths
	AddPathRx       bool // it can receive them
	Restart         bool // it knows of graceful restart
	RestartIPv4     bool // it can restart itself without forgetting how to forward
	Restarting      bool
	Forwarding      bool // it has gone on to forward
	LongLived       bool
	RestartTime     time.Duration
}

// openMessage is our OPEN: capabilities in the order of BIRD, in one parameter.
func (p *Peer) openMessage() *bgp.BGPMessage {
	s := p.speaker
	list := []bgp.ParameterCapabilityInterface{bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC), bgp.NewCapRouteRefresh()}
	if !p.cfg.NoRestart {
		list = append(list, bgp.NewCapGracefulRestart(s.recovering(), false, uint16(s.cfg.RestartTime/time.Second),
			[]*bgp.CapGracefulRestartTuple{bgp.NewCapGracefulRestartTuple(bgp.RF_IPv4_UC, s.recovering())}))
	}
	list = append(list, bgp.NewCapFourOctetASNumber(s.cfg.AS))
	if !p.cfg.NoAddPath {
		list = append(list, bgp.NewCapAddPath([]*bgp.CapAddPathTuple{bgp.NewCapAddPathTuple(bgp.RF_IPv4_UC, bgp.BGP_ADD_PATH_BOTH)}))
	}
	list = append(list, bgp.NewCapEnhancedRouteRefresh())
	if !p.cfg.NoRestart {
		list = append(list, bgp.NewCapLongLivedGracefulRestart(nil))
	}
	as := uint16(asTrans)
	if s.cfg.AS <= 0xffff {
		as = uint16(s.cfg.AS)
	}
	m, _ := bgp.NewBGPOpenMessage(as, uint16(s.cfg.HoldTime/time.Second), s.cfg.RouterID,
		[]bgp.OptionParameterInterface{bgp.NewOptionParameterCapability(list)})
	return m
}

// readCapabilities reads the capabilities of an OPEN, and the AS number there.
func readCapabilities(m *bgp.BGPOpen) (c capabilities, as uint32) {
	as = uint32(m.MyAS)
	families := false
	for _, param := range m.OptParams {
		list, ok := param.(*bgp.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, item := range list.Capability {
			switch x := item.(type) {
			case *bgp.CapMultiProtocol:
				families = true
				c.IPv4 = c.IPv4 || x.CapValue == bgp.RF_IPv4_UC
			case *bgp.CapRouteRefresh:
				c.Refresh = true
			case *bgp.CapEnhancedRouteRefresh:
				c.EnhancedRefresh = true
			case *bgp.CapLongLivedGracefulRestart:
				c.LongLived = true
			case *bgp.CapFourOctetASNumber:
				c.AS4, as = true, x.CapValue
			case *bgp.CapAddPath:
				for _, t := range x.Tuples {
					if t.Family == bgp.RF_IPv4_UC {
						c.AddPathRx = t.Mode&bgp.BGP_ADD_PATH_RECEIVE != 0
						c.AddPathTx = t.Mode&bgp.BGP_ADD_PATH_SEND != 0
					}
				}
			case *bgp.CapGracefulRestart:
				c.Restart = true
				c.Restarting = x.Flags&8 != 0
				c.RestartTime = time.Duration(x.Time) * time.Second
				for _, t := range x.Tuples {
					if t.AFI == bgp.AFI_IP && t.SAFI == bgp.SAFI_UNICAST {
						c.RestartIPv4, c.Forwarding = true, t.Flags&0x80 != 0
					}
				}
			}
		}
	}
	c.IPv4 = c.IPv4 || !families
	return c, as
}

// notification is an error that the other end is told of.
type notification struct {
	code, sub uint8
	data      []byte
	why       string
}

func (n *notification) Error() string {
	return fmt.Sprintf("%s (%d.%d): %s", errorText(n.code, n.sub), n.code, n.sub, n.why)
}

// notificationOf is what to say about what GoBGP's codec has found.
func notificationOf(err error, code uint8) *notification {
	var m *bgp.MessageError
	if errors.As(err, &m) && m.TypeCode != 0 {
		return &notification{m.TypeCode, m.SubTypeCode, m.Data, m.Message}
	}
	return &notification{code: code, why: err.Error()}
}

// checkOpen finds what is wrong with an OPEN (RFC 4271 §6.2).
func (p *Peer) checkOpen(m *bgp.BGPOpen) (capabilities, *notification) {
	s := p.speaker
	c, as := readCapabilities(m)
	fail := func(sub uint8, data []byte, format string, args ...any) (capabilities, *notification) {
		return c, &notification{openError, sub, data, fmt.Sprintf(format, args...)}
	}
	switch {
	case m.Version != 4:
		return fail(badVersion, []byte{0, 4}, "version %d, want 4", m.Version)
	case as != p.cfg.AS:
		return fail(badAS, binary.BigEndian.AppendUint16(nil, m.MyAS), "AS %d, want %d", as, p.cfg.AS)
	case m.HoldTime > 0 && m.HoldTime < 3:
		return fail(badHoldTime, binary.BigEndian.AppendUint16(nil, m.HoldTime), "hold time %d s, want 0 or 3 and more", m.HoldTime)
	case m.ID.IsUnspecified() || m.ID == s.cfg.RouterID && p.internal():
		return fail(badIdentifier, m.ID.AsSlice(), "BGP identifier %v", m.ID)
	}
	for _, param := range m.OptParams {
		if x, ok := param.(*bgp.OptionParameterUnknown); ok {
			return fail(badParameter, nil, "optional parameter %d", x.ParamType)
		}
	}
	return c, nil
}

// errorText names an error as BIRD's bgp_error_dsc does.
func errorText(code, sub uint8) string {
	if text := errorTexts[[2]uint8{code, sub}]; text != "" {
		return text
	}
	if text := errorTexts[[2]uint8{code}]; text != "" {
		return fmt.Sprintf("%s (unknown subcode %d)", text, sub)
	}
	return fmt.Sprintf("Unknown error %d.%d", code, sub)
}

var errorTexts = map[[2]uint8]string{
	{1, 0}: "Invalid message header", {1, 1}: "Connection not synchronized", {1, 2}: "Bad message length", {1, 3}: "Bad message type",
	{2, 0}: "Invalid OPEN message", {2, 1}: "Unsupported version number", {2, 2}: "Bad peer AS", {2, 3}: "Bad BGP identifier",
	{2, 4}: "Unsupported optional parameter", {2, 5}: "Authentication failure", {2, 6}: "Unacceptable hold time", {2, 7}: "Required capability missing",
	{3, 0}: "Invalid UPDATE message", {3, 1}: "Malformed attribute list", {3, 2}: "Unrecognized well-known attribute", {3, 3}: "Missing mandatory attribute",
	{3, 4}: "Invalid attribute flags", {3, 5}: "Invalid attribute length", {3, 6}: "Invalid ORIGIN attribute", {3, 8}: "Invalid NEXT_HOP attribute",
	{3, 9}: "Optional attribute error", {3, 10}: "Invalid network field", {3, 11}: "Malformed AS_PATH",
	{4, 0}: "Hold timer expired",
	{5, 0}: "Finite state machine error", {5, 1}: "Unexpected message in OpenSent state", {5, 2}: "Unexpected message in OpenConfirm state", {5, 3}: "Unexpected message in Established state",
	{6, 0}: "Cease", {6, 1}: "Maximum number of prefixes reached", {6, 2}: "Administrative shutdown", {6, 3}: "Peer de-configured",
	{6, 4}: "Administrative reset", {6, 5}: "Connection rejected", {6, 6}: "Other configuration change", {6, 7}: "Connection collision resolution", {6, 8}: "Out of Resources",
	{7, 0}: "Invalid ROUTE-REFRESH message", {7, 1}: "Invalid ROUTE-REFRESH message length",
}
