// Package notice holds the rules of the notifier: which messages an event causes, when one is due, whether it still
// makes sense when its time comes, and what follows from each answer of the mail service. It knows no SQL, no HTTP,
// no MIME and has no clock of its own.
package notice

// Template names one kind of message. The name is stored, sent as an SES tag and published in events, so it never
// changes once used.
type Template string

// The messages.
const (
	DoctorBooked      Template = "doctor_booked"
	DoctorRequested   Template = "doctor_requested"
	DoctorRescheduled Template = "doctor_rescheduled"
	DoctorCancelled   Template = "doctor_cancelled"
	DoctorAgenda      Template = "doctor_agenda"

	PatientBooked      Template = "patient_booked"
	PatientRequested   Template = "patient_requested"
	PatientConfirmed   Template = "patient_confirmed"
	PatientDeclined    Template = "patient_declined"
	PatientRescheduled Template = "patient_rescheduled"
	PatientCancelled   Template = "patient_cancelled"
	PatientReminder    Template = "patient_reminder"
	PatientOffer       Template = "patient_waitlist_offer"

	AccountVerification    Template = "account_verification"
	AccountNewEmail        Template = "account_new_email"
	AccountPasswordReset   Template = "account_password_reset"
	AccountPasswordChanged Template = "account_password_changed"
)

// Templates lists every message, in the order of the preview's index.
func Templates() []Template {
	return []Template{
		DoctorBooked, DoctorRequested, DoctorRescheduled, DoctorCancelled, DoctorAgenda,
		PatientBooked, PatientRequested, PatientConfirmed, PatientDeclined, PatientRescheduled, PatientCancelled,
		PatientReminder, PatientOffer,
		AccountVerification, AccountNewEmail, AccountPasswordReset, AccountPasswordChanged,
	}
}

// Announces says that the message tells a change of an appointment. Announcements of one appointment to one person
// form a thread: each tells the appointment's state at the time of sending, and makes the older ones needless.
func (t Template) Announces() bool {
	switch t {
	case DoctorBooked, DoctorRequested, DoctorRescheduled, DoctorCancelled,
		PatientBooked, PatientRequested, PatientConfirmed, PatientDeclined, PatientRescheduled, PatientCancelled:
		return true
	}
	return false
}

// Once says that the message, which comes by the clock, is sent at most once: a second one would only annoy, whereas what
// an announcement tells must arrive, if need be twice.
func (t Template) Once() bool { return t == PatientReminder || t == DoctorAgenda }

// Invites says that the message puts the appointment into the reader's calendar, or moves it there.
func (t Template) Invites() bool {
	switch t {
	case DoctorBooked, DoctorRescheduled, PatientBooked, PatientConfirmed, PatientRescheduled:
		return true
	}
	return false
}

// Moves says that the message tells a new time.
func (t Template) Moves() bool { return t == DoctorRescheduled || t == PatientRescheduled }

// first is the message that tells the appointment itself to a reader of the news that it was moved: who never heard of
// it, or is to answer anew.
func (t Template) first(status string) Template {
	switch {
	case t == DoctorRescheduled && status == StatusRequested:
		return DoctorRequested
	case t == DoctorRescheduled:
		return DoctorBooked
	case status == StatusRequested:
		return PatientRequested
	}
	return PatientBooked
}

// Cancels says that the message takes the appointment back.
func (t Template) Cancels() bool { return t == DoctorCancelled || t == PatientCancelled }

// Account says that the message concerns the reader's account rather than an appointment.
func (t Template) Account() bool {
	switch t {
	case AccountVerification, AccountNewEmail, AccountPasswordReset, AccountPasswordChanged:
		return true
	}
	return false
}

// ToDoctor says that the reader is the appointment's doctor.
func (t Template) ToDoctor() bool {
	switch t {
	case DoctorBooked, DoctorRequested, DoctorRescheduled, DoctorCancelled, DoctorAgenda:
		return true
	}
	return false
}

// truthful says whether the message would be true of an appointment in this status.
func (t Template) truthful(status string) bool {
	switch t {
	case DoctorRequested, PatientRequested:
		return status == StatusRequested
	case DoctorBooked, PatientBooked, PatientConfirmed, PatientReminder:
		return status == StatusBooked
	case DoctorRescheduled, PatientRescheduled:
		return status == StatusBooked || status == StatusRequested
	case DoctorCancelled, PatientCancelled:
		return status == StatusCancelled
	case PatientDeclined:
		return status == StatusDeclined
	}
	return true
}
