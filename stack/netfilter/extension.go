package netfilter

import "strings"

// kind describes a match or target extension: its options, and how to make one.
type kind struct {
	name string
	opts []option
	make maker // of its matches or targets, which the options fill
}

// option is one option of an extension or of iptables itself.
type option struct {
	names  []string // the first is canonical
	args   int      // words that follow
	invert bool     // ! may stand before it
	set    func(ext any, a arg) error
}

// arg is one option as it was found on a command line.
type arg struct {
	p    *parser
	name word // the option itself
	neg  bool
	w    []word // the words that followed, as many as option.args
}

// opt describes an option; names are separated by |.
func opt[T any](names string, args int, invert bool, set func(T, arg) error) option {
	return option{strings.Split(names, "|"), args, invert, func(ext any, a arg) error { return set(ext.(T), a) }}
}

// flag describes an option without argument that only sets something.
func flag[T any](names string, set func(T)) option {
	return opt(names, 0, false, func(x T, _ arg) error {
		set(x)
		return nil
	})
}

// finisher is an extension with something to check when its rule is complete: name is the word that loaded it.
type finisher interface {
	finish(r *Rule, name word) error
}

// loaded is an extension in use by the rule being parsed.
type loaded struct {
	*kind
	from stock
	name word
	ext  any
	seen uint64 // options given so far, one bit each
}

// option is the index of an option by its whole name, or -1.
func (k *kind) option(name string) int {
	for i := range k.opts {
		for _, n := range k.opts[i].names {
			if n == name {
				return i
			}
		}
	}
	return -1
}

var matchKinds, targetKinds map[string]*kind

func init() {
	matchKinds = kindMap(tcpKind, udpKind, sctpKind, icmpKind, multiportKind, commentKind, markKind, connmarkKind,
		conntrackKind, stateKind, addrtypeKind, statisticKind, recentKind, physdevKind, limitKind, setKind, iprangeKind,
		lengthKind, pkttypeKind, ttlKind, dscpKind, tosKind, tcpmssMatchKind, u32Kind, rpfilterKind, macKind, ownerKind,
		policyKind, ipvsKind, hashlimitKind, connlimitKind)
	targetKinds = kindMap(rejectKind, dnatKind, snatKind, masqueradeKind, redirectKind, setMarkKind, setConnmarkKind,
		notrackKind, ctKind, logKind, nflogKind, tcpmssKind, netmapKind, ttlTargetKind, tosTargetKind, dscpTargetKind,
		checksumKind, classifyKind, traceKind)
}

func kindMap(kinds ...*kind) map[string]*kind {
	m := make(map[string]*kind, len(kinds))
	for _, k := range kinds {
		m[k.name] = k
	}
	return m
}

// Extensions that iptables has and this package has not. They get an error that says so, not "unknown".
var (
	otherMatches = []string{"ah", "bpf", "cgroup", "cluster", "connbytes", "connlabel", "cpu", "dccp",
		"devgroup", "ecn", "esp", "helper", "nfacct", "osf", "policy",
		"quota", "rateest", "realm", "socket", "string", "time", "udplite", "unclean"}
	otherTargets = []string{"AUDIT", "CLUSTERIP", "CONNSECMARK", "ECN", "HMARK",
		"IDLETIMER", "LED", "NFQUEUE", "QUEUE", "RATEEST", "SECMARK", "SET", "SYNPROXY", "TEE", "TOS",
		"TPROXY", "ULOG"}
)
