package link

// A Group waits for goroutines that it has started, as a sync.WaitGroup does, and
// goes on in the driver's order: in its turn after the last of them has ended,
// where a WaitGroup would let it go beside that one. Create it with
// [Driver.NewGroup].
type Group struct {
	drv     *Driver
	all     *Waiter
	running int // guarded by the driver's lock
}

// NewGroup returns a group of no goroutines.
func (d *Driver) NewGroup() *Group { return &Group{drv: d, all: d.NewWaiter()} }

// Go starts f as [Driver.Go] does.
func (g *Group) Go(f func()) {
	g.drv.Do(func() {
		g.running++
		g.drv.Start(func() {
			defer g.drv.Do(func() {
				g.running--
				g.all.Wake()
			})
			f()
		})
	})
}

// Wait blocks until all have ended, or the driver is closed. One goroutine may
// call it, without the driver's lock.
func (g *Group) Wait() {
	for {
		done := false
		g.drv.Do(func() { done = g.running == 0 || g.drv.closed.Load() })
		if done {
			return
		}
		g.all.Wait()
	}
}
