package shell

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/stack"
)

var sysctlCommand = Command{
	Name: "sysctl", Usage: "[-nw] {-a | NAME[=VALUE]...}", Summary: "read and set kernel parameters",
	run: (*call).sysctl,
}

func (c *call) sysctl() error {
	var all, bare bool
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&all, "all", "a", false, "")
		f.BoolVarP(&bare, "values", "n", false, "")
		f.BoolP("write", "w", false, "") // NAME=VALUE says enough
	})
	switch {
	case !ok:
		return err
	case all && len(args) == 0:
		args = stack.Sysctls()
	case len(args) == 0:
		return c.misused("no variables specified")
	}
	for _, arg := range args {
		name, value, set := strings.Cut(arg, "=")
		name = strings.TrimSpace(name)
		if set {
			c.do(func() { err = c.host.SetSysctl(name, strings.TrimSpace(value)) })
			if err != nil {
				return c.fail(1, "setting key %q: %v", name, err)
			}
		}
		v, err := c.readSysctl(name)
		switch {
		case err != nil:
			return c.fail(1, "cannot stat /proc/sys/%s: No such file or directory (%v)", strings.ReplaceAll(name, ".", "/"), err)
		case bare:
			c.printf("%s\n", v)
		default:
			c.printf("%s = %s\n", strings.ReplaceAll(name, "/", "."), v)
		}
	}
	return nil
}

func (c *call) readSysctl(name string) (v string, err error) {
	c.do(func() { v, err = c.host.Sysctl(name) })
	return v, err
}
