package notice

import (
	"time"

	"github.com/google/uuid"
)

// SignalKind is what the mail service tells of a message after it took it.
type SignalKind string

// Signals.
const (
	SignalSend      SignalKind = "send"      // accepted: settles an attempt in doubt
	SignalDelivery  SignalKind = "delivery"  // the recipient's server took it
	SignalBounce    SignalKind = "bounce"    // it came back
	SignalComplaint SignalKind = "complaint" // the recipient called it spam
	SignalReject    SignalKind = "reject"    // accepted, then refused by the mail service itself
)

// ReasonRejectedLater is that of SignalReject.
const ReasonRejectedLater = "rejected_after_acceptance"

// Signal is one piece of feedback. It may come twice, late and in any order.
type Signal struct {
	Kind       SignalKind
	DeliveryID uuid.UUID
	MessageID  string    // of the mail service
	Permanent  bool      // of a bounce: the address is no good
	Reason     string    // code, never an address
	SentTo     []string  // the message's own destination, not whom a forwarder passed it on to
	At         time.Time // when the mail service accepted the message
}

// After says what a delivery in a status becomes by a signal; ok is false when nothing changes. Bad news wins over good,
// whichever comes first.
func (s Signal) After(status Status, attempts int, knownMessage string) (next Status, ok bool) {
	switch s.Kind {
	case SignalSend, SignalDelivery:
		if s.MessageID == knownMessage || attempts == 0 {
			return status, false // of an attempt that was settled before
		}
		switch status {
		case Sending, Unknown, Pending, Failed, Skipped:
			return Sent, true
		}
	case SignalBounce:
		return Bounced, status != Bounced && status != Complained
	case SignalComplaint:
		return Complained, status != Complained
	case SignalReject:
		return Failed, status != Failed && status != Bounced && status != Complained
	}
	return status, false
}

// Suppresses says that the address must not be written to again.
func (s Signal) Suppresses() bool {
	return s.Kind == SignalComplaint || s.Kind == SignalBounce && s.Permanent
}
