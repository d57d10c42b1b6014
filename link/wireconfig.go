package link

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// WireConfig describes one direction of a cable. The zero value is an ideal
// cable: no delay, no limit, no loss. A frame meets the settings in this order:
// MTU; queue and rate; loss, corruption and duplication on the medium; latency,
// jitter and reordering. Names follow tc-netem(8), tc-tbf(8) and the RFCs of
// the queue disciplines.
type WireConfig struct {
	Latency time.Duration // from the last bit sent to the last bit received
	Jitter  Jitter        // how latency varies; frames keep their order
	Reorder float64       // probability that a frame skips latency and jitter, and so overtakes; 0 to 1

	Rate       int64 // bit/s on the medium; 0 means unlimited
	Burst      int   // bytes that may pass at once after a pause, a token bucket's size; 0 means none
	Queue      int   // frames that may wait for a rated cable; 0 means 1000 (10,240 with FQ-CoDel), or no limit if QueueBytes is set
	QueueBytes int   // bytes that may wait for a rated cable; 0 means no limit
	AQM        AQM   // how the queue of a rated cable is managed; the zero value drops at its tail

	MTU int // largest payload of a frame in bytes; larger ones vanish; 0 means unlimited

	Loss      float64        // probability that a frame is lost, 0 to 1
	LossBurst GilbertElliott // losses that come in bursts, besides Loss
	LossTrace *LossTrace     // losses as recorded, besides Loss; nil means none
	Duplicate float64        // probability that a frame arrives twice, 0 to 1
	Corrupt   float64        // probability that one bit of a frame is flipped unnoticed, 0 to 1
}

// Validate reports a setting that no cable can have.
func (c WireConfig) Validate() error {
	switch {
	case c.Latency < 0:
		return fmt.Errorf("link: wire: latency %v, want 0 or more", c.Latency)
	case c.Rate < 0:
		return fmt.Errorf("link: wire: rate %d bit/s, want 0 or more", c.Rate)
	case c.Burst < 0:
		return fmt.Errorf("link: wire: burst of %d bytes, want 0 or more", c.Burst)
	case c.Queue < 0:
		return fmt.Errorf("link: wire: queue of %d frames, want 0 or more", c.Queue)
	case c.QueueBytes < 0:
		return fmt.Errorf("link: wire: queue of %d bytes, want 0 or more", c.QueueBytes)
	case c.MTU < 0:
		return fmt.Errorf("link: wire: MTU %d, want 0 or more", c.MTU)
	case c.Reorder > 0 && c.Latency == 0:
		return errors.New("link: wire: reordering without a latency to skip, want both")
	}
	for _, p := range []struct {
		name  string
		value float64
	}{{"loss", c.Loss}, {"duplicate", c.Duplicate}, {"corrupt", c.Corrupt}, {"reorder", c.Reorder}} {
		if err := checkShare(p.name, p.value); err != nil {
			return err
		}
	}
	return errors.Join(c.Jitter.validate(), c.LossBurst.validate(), c.LossTrace.validate(), c.AQM.validate())
}

// checkShare refuses what is no probability, NaN included.
func checkShare(name string, p float64) error {
	if p >= 0 && p <= 1 {
		return nil
	}
	return fmt.Errorf("link: wire: %s %v, want 0 to 1", name, p)
}

// queueLimits returns how many frames and bytes may wait.
func (c *WireConfig) queueLimits() (frames, bytes int) {
	frames, bytes = c.Queue, c.QueueBytes
	if frames == 0 && bytes == 0 {
		frames = defaultQueue
		if c.AQM.Kind == FQCoDel {
			frames = defaultFQQueue
		}
	}
	if frames == 0 {
		frames = math.MaxInt
	}
	if bytes == 0 {
		bytes = math.MaxInt
	}
	return frames, bytes
}

// What may wait on a cable that does not say: Linux' txqueuelen, which is
// codel's limit too, and the limit of fq_codel.
const (
	defaultQueue   = 1000
	defaultFQQueue = 10240
)

// hasImpairment reports whether a frame needs more than the fast path gives.
func (c *WireConfig) hasImpairment() bool {
	return c.Duplicate > 0 || c.Corrupt > 0 || c.Reorder > 0 || c.LossTrace != nil ||
		c.LossBurst != GilbertElliott{} || c.Jitter != Jitter{}
}
