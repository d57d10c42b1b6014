package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// IP protocol numbers.
const (
	protoTCP = 6
	protoUDP = 17
)

// DefaultSize is the size of the kernel's connection hash table (conn_tab_bits=12), which listings show.
const DefaultSize = 4096

// Config is what net.ipv4.vs says. The zero value is Linux as booted, but for ConnReuse.
type Config struct {
	// NoConnReuse is conn_reuse_mode=0: a SYN on a connection that is ending goes to the server that had it.
	NoConnReuse bool
	// ExpireNodestConn is expire_nodest_conn: a connection whose server is gone ends with its next packet.
	ExpireNodestConn bool
	// ExpireQuiescentTemplate is expire_quiescent_template: a client does not stick to a server of weight zero.
	ExpireQuiescentTemplate bool
}

// Key names a virtual service.
type Key struct {
	Proto uint8 // 6 or 17
	Addr  netip.AddrPort
}

// String is the service as ipvsadm prints it: "TCP 10.96.0.10:80".
func (k Key) String() string { return protoName(k.Proto) + " " + k.Addr.String() }

func protoName(proto uint8) string {
	if proto == protoTCP {
		return "TCP"
	}
	return "UDP"
}

// ServiceConfig describes a virtual service.
type ServiceConfig struct {
	Addr      netip.AddrPort
	Proto     uint8  // 6 or 17
	Scheduler string // one of Schedulers; if empty, the first
	// Persistent is how long a client keeps its server; 0 is not at all.
	Persistent time.Duration
}

// ServerConfig describes a real server.
type ServerConfig struct {
	Addr   netip.AddrPort
	Weight int // 0 gets no new connections
}

// Service is a virtual service.
type Service struct {
	ServiceConfig
	Stats   Stats
	servers []*Server // the latest first, as the kernel lists them
	sched   scheduler
}

// Servers lists the real servers, the latest first. The caller must not change the slice.
func (s *Service) Servers() []*Server { return s.servers }

// Server is a real server of a service.
type Server struct {
	ServerConfig
	Active, Inactive int // connections: established, and others
	Persistent       int // templates
	Stats            Stats
	gone             bool // taken out of the service
}

// Stats count what a service or a server has seen.
type Stats struct {
	Conns, InPackets, OutPackets, InBytes, OutBytes uint64
}

// Table is the state behind one network namespace. Use New.
type Table struct {
	// OnExpire, if set, is told of each connection that has ended. The kernel forgets its conntrack entry then.
	OnExpire func(*Conn)

	cfg      Config
	services map[Key]*Service
	trash    map[trashKey]*Server // gone, with connections left
	in, out  map[connKey]*Conn
	expiry   expiryQueue
	now      time.Duration
}

// trashKey is a server that was taken away. Should it come back, its connections go on.
type trashKey struct {
	service Key
	addr    netip.AddrPort
}

// drop marks a server as gone.
func (t *Table) drop(k Key, d *Server) {
	d.gone = true
	if d.Active+d.Inactive+d.Persistent > 0 {
		t.trash[trashKey{k, d.Addr}] = d
	}
}

// New returns an empty table.
func New(cfg Config) *Table {
	return &Table{cfg: cfg, services: make(map[Key]*Service), trash: make(map[trashKey]*Server), in: make(map[connKey]*Conn), out: make(map[connKey]*Conn)}
}

// Configure changes the settings.
func (t *Table) Configure(cfg Config) { t.cfg = cfg }

// Empty reports whether there are neither services nor connections.
func (t *Table) Empty() bool { return len(t.services) == 0 && len(t.in) == 0 }

// Service returns a service, or nil.
func (t *Table) Service(k Key) *Service { return t.services[k] }

// Services lists the services, TCP first, by address and port.
func (t *Table) Services() []*Service {
	list := make([]*Service, 0, len(t.services))
	for _, s := range t.services {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *Service) int {
		if a.Proto != b.Proto {
			return int(a.Proto) - int(b.Proto)
		}
		return a.Addr.Compare(b.Addr)
	})
	return list
}

// AddService adds a virtual service without servers.
func (t *Table) AddService(cfg ServiceConfig) error {
	k := Key{cfg.Proto, cfg.Addr}
	switch {
	case cfg.Proto != protoTCP && cfg.Proto != protoUDP:
		return fmt.Errorf("ipvs: protocol %d, want TCP or UDP", cfg.Proto)
	case !cfg.Addr.Addr().Is4() || cfg.Addr.Port() == 0:
		return fmt.Errorf("ipvs: service at %v, want an IPv4 address and a port", cfg.Addr)
	case t.services[k] != nil:
		return fmt.Errorf("ipvs: service %v exists already", k)
	}
	s := &Service{ServiceConfig: cfg}
	if err := s.schedule(cfg.Scheduler); err != nil {
		return err
	}
	t.services[k] = s
	return nil
}

// EditService changes the scheduler and the persistence of a service. Its servers stay.
func (t *Table) EditService(cfg ServiceConfig) error {
	s := t.services[Key{cfg.Proto, cfg.Addr}]
	if s == nil {
		return fmt.Errorf("ipvs: there is no service %v", Key{cfg.Proto, cfg.Addr})
	}
	if cfg.Scheduler != s.Scheduler {
		if err := s.schedule(cfg.Scheduler); err != nil {
			return err
		}
	}
	s.Persistent = cfg.Persistent
	return nil
}

// DeleteService takes a service away, with its servers. Connections stay until their next packet or timeout.
func (t *Table) DeleteService(k Key) bool {
	s := t.services[k]
	if s == nil {
		return false
	}
	for _, d := range s.servers {
		t.drop(k, d)
	}
	delete(t.services, k)
	return true
}

// AddServer adds a real server to a service.
func (t *Table) AddServer(k Key, cfg ServerConfig) error {
	s := t.services[k]
	switch {
	case s == nil:
		return fmt.Errorf("ipvs: there is no service %v", k)
	case s.server(cfg.Addr) != nil:
		return fmt.Errorf("ipvs: service %v has server %v already", k, cfg.Addr)
	case cfg.Weight < 0 || !cfg.Addr.Addr().Is4() || cfg.Addr.Port() == 0:
		return fmt.Errorf("ipvs: server %v with weight %d, want an IPv4 address, a port and no negative weight", cfg.Addr, cfg.Weight)
	}
	d := t.trash[trashKey{k, cfg.Addr}]
	if d == nil {
		d = &Server{}
	}
	delete(t.trash, trashKey{k, cfg.Addr})
	d.ServerConfig, d.gone = cfg, false
	s.servers = slices.Insert(s.servers, 0, d)
	s.sched.changed(s)
	return nil
}

// SetWeight changes the weight of a real server, and reports whether it is there.
func (t *Table) SetWeight(k Key, addr netip.AddrPort, weight int) bool {
	s := t.services[k]
	if s == nil || s.server(addr) == nil || weight < 0 {
		return false
	}
	s.server(addr).Weight = weight
	s.sched.changed(s)
	return true
}

// DeleteServer takes a real server away, and reports whether it was there.
func (t *Table) DeleteServer(k Key, addr netip.AddrPort) bool {
	s := t.services[k]
	if s == nil {
		return false
	}
	i := slices.IndexFunc(s.servers, func(d *Server) bool { return d.Addr == addr })
	if i < 0 {
		return false
	}
	d := s.servers[i]
	t.drop(k, d)
	s.sched.removed(s, i)
	s.servers = slices.Delete(s.servers, i, i+1)
	s.sched.changed(s)
	return true
}

func (s *Service) server(a netip.AddrPort) *Server {
	i := slices.IndexFunc(s.servers, func(d *Server) bool { return d.Addr == a })
	if i < 0 {
		return nil
	}
	return s.servers[i]
}

// schedule gives the service a scheduler.
func (s *Service) schedule(name string) error {
	if name == "" {
		name = Schedulers()[0]
	}
	sched := newScheduler(name)
	if sched == nil {
		return fmt.Errorf("ipvs: scheduler %q is not known, want one of %s", name, strings.Join(Schedulers(), ", "))
	}
	s.Scheduler, s.sched = name, sched
	sched.changed(s)
	return nil
}
