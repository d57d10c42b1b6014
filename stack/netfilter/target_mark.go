package netfilter

// setMarkTarget is MARK: clear the bits of mask, then flip those of value.
type setMarkTarget struct {
	value, mask uint32
	given       bool
}

func (t *setMarkTarget) act(e *eval) { e.p.Mark = e.p.Mark&^t.mask ^ t.value }

func (t *setMarkTarget) place() (tableSet, hookSet) { return allTables, allHooks }

func (t *setMarkTarget) appendTo(b []byte) []byte {
	return appendHex(append(appendHex(append(b, " --set-xmark "...), t.value), '/'), t.mask)
}

func (t *setMarkTarget) explain() string { return string(t.appendTo(nil)) }

func (t *setMarkTarget) finish(_ *Rule, name word) error {
	if !t.given {
		return name.errorf("MARK needs --set-xmark, --set-mark, --and-mark, --or-mark or --xor-mark")
	}
	return nil
}

func (t *setMarkTarget) set(a arg, value, mask uint32, err error) error {
	if t.given && err == nil {
		return a.name.errorf("only one operation can be given")
	}
	*t = setMarkTarget{value, mask, true}
	return err
}

// markOps are the operations that MARK and CONNMARK share, all of them expressed as --set-xmark, which is how
// iptables-save prints them.
func markOps[T interface {
	set(arg, uint32, uint32, error) error
}]() []option {
	op := func(name string, f func(v, m uint32) (uint32, uint32)) option {
		return opt(name, 1, false, func(t T, a arg) error {
			v, m, err := parseMark(a.w[0])
			v, m = f(v, m)
			return t.set(a, v, m, err)
		})
	}
	return []option{
		op("--set-xmark", func(v, m uint32) (uint32, uint32) { return v, m }),
		op("--set-mark", func(v, m uint32) (uint32, uint32) { return v, v | m }),
		op("--and-mark", func(v, _ uint32) (uint32, uint32) { return 0, ^v }),
		op("--or-mark", func(v, _ uint32) (uint32, uint32) { return v, v }),
		op("--xor-mark", func(v, _ uint32) (uint32, uint32) { return v, 0 }),
	}
}

var setMarkKind = &kind{"MARK", markOps[*setMarkTarget](), of(setMarkTarget{})}

// setConnmarkTarget is CONNMARK. Without a connection it does nothing.
type setConnmarkTarget struct {
	op             string // --set-xmark, --save-mark or --restore-mark
	value          uint32
	ctMask, nfMask uint32
	masked         bool
}

func (t *setConnmarkTarget) act(e *eval) {
	if e.p.ConnMark == nil {
		return
	}
	switch t.op {
	case "--set-xmark":
		*e.p.ConnMark = *e.p.ConnMark&^t.ctMask ^ t.value
	case "--save-mark":
		*e.p.ConnMark = *e.p.ConnMark&^t.ctMask ^ e.p.Mark&t.nfMask
	default:
		e.p.Mark = e.p.Mark&^t.nfMask ^ *e.p.ConnMark&t.ctMask
	}
}

func (t *setConnmarkTarget) place() (tableSet, hookSet) { return allTables, allHooks }

func (t *setConnmarkTarget) appendTo(b []byte) []byte {
	b = append(append(b, ' '), t.op...)
	if t.op == "--set-xmark" {
		return appendHex(append(appendHex(append(b, ' '), t.value), '/'), t.ctMask)
	}
	return appendHex(append(appendHex(append(b, " --nfmask "...), t.nfMask), " --ctmask "...), t.ctMask)
}

func (t *setConnmarkTarget) explain() string { return string(t.appendTo(nil)) }

func (t *setConnmarkTarget) finish(_ *Rule, name word) error {
	switch {
	case t.op == "":
		return name.errorf("CONNMARK needs --set-xmark, --save-mark, --restore-mark or the like")
	case t.op == "--set-xmark" && t.masked:
		return name.errorf("--mask, --nfmask and --ctmask need --save-mark or --restore-mark")
	}
	return nil
}

func (t *setConnmarkTarget) set(a arg, value, mask uint32, err error) error {
	if t.op != "" && err == nil {
		return a.name.errorf("%s is given already", t.op)
	}
	t.op, t.value, t.ctMask = "--set-xmark", value, mask
	return err
}

func connmarkOp(name string) option {
	return opt(name, 0, false, func(t *setConnmarkTarget, a arg) error {
		if t.op != "" {
			return a.name.errorf("%s is given already", t.op)
		}
		t.op = name
		return nil
	})
}

func connmarkMask(name string, ct, nf bool) option {
	return opt(name, 1, false, func(t *setConnmarkTarget, a arg) error {
		m, err := parseNumber(a.w[0], 1<<32-1)
		if ct {
			t.ctMask = uint32(m)
		}
		if nf {
			t.nfMask = uint32(m)
		}
		t.masked = true
		return err
	})
}

var setConnmarkKind = &kind{"CONNMARK", append(markOps[*setConnmarkTarget](),
	connmarkOp("--save-mark"), connmarkOp("--restore-mark"),
	connmarkMask("--mask", true, true), connmarkMask("--ctmask", true, false), connmarkMask("--nfmask", false, true),
), of(setConnmarkTarget{ctMask: ^uint32(0), nfMask: ^uint32(0)})}
