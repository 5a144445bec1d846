package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// Mappings translate the errors of domain and store into problems.
func Mappings() []web.Mapping {
	problem := func(err error, status int, name, titlePT, titleEN, detailPT, detailEN string) web.Mapping {
		return web.Mapping{Err: err, Problem: web.Problem{Name: name, Status: status,
			Title: web.Text{PT: titlePT, EN: titleEN}, Detail: web.Text{PT: detailPT, EN: detailEN}}}
	}
	const (
		notFound, conflict, gone, refused = http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity
	)
	return []web.Mapping{
		{Err: booking.ErrNotFound, Problem: web.NotFound()},
		{Err: booking.ErrForbidden, Problem: web.Forbidden()},
		{Err: booking.ErrStale, Problem: web.PreconditionFailed()},
		{Err: booking.ErrDeparted, Problem: web.Unauthenticated()},
		{Err: postgres.ErrBusy, Problem: web.Unavailable(time.Second)},
		problem(booking.ErrDoctorNotFound, notFound, "doctor-not-found", "Médico não encontrado", "Doctor not found",
			"Não há médico com este identificador.", "There is no doctor by that id."),
		problem(booking.ErrNotApproved, http.StatusForbidden, web.Forbidden().Name, web.Forbidden().Title.PT, web.Forbidden().Title.EN,
			"O cadastro do médico ainda aguarda aprovação.", "The doctor still awaits approval."),
		problem(booking.ErrPatientNotFound, notFound, "patient-not-found", "Paciente não encontrado", "Patient not found",
			"Não há paciente com este identificador.", "There is no patient by that id."),
		problem(booking.ErrNoAvailability, notFound, "availability-not-set", "Agenda não definida", "Availability not set",
			"O médico ainda não informou quando atende.", "The doctor has not said when they see patients yet."),
		problem(booking.ErrOwnHold, conflict, "slot-taken", "Horário ocupado", "Slot taken",
			"Este horário está reservado para o próprio paciente. Para agendá-lo, envie o hold_id da reserva.",
			"This time is held for the patient themselves. To book it, send the hold's hold_id."),
		problem(booking.ErrSlotTaken, conflict, "slot-taken", "Horário ocupado", "Slot taken",
			"Este horário acaba de ser ocupado. Escolha outro.", "This time has been taken. Choose another."),
		problem(booking.ErrPatientBusy, conflict, "patient-busy", "Paciente ocupado", "Patient busy",
			"O paciente já tem outra consulta neste horário.", "The patient already has something at this time."),
		problem(booking.ErrTooManyHolds, conflict, "too-many-holds", "Reservas demais", "Too many holds",
			"Você já reserva o máximo de horários. Agende ou libere um deles.", "You keep as many slots as you may. Book or release one."),
		problem(booking.ErrTooManyWaiting, conflict, "too-many-waiting", "Filas demais", "Too many places in line",
			"Você já espera em filas demais. Saia de uma delas.", "You wait in as many lines as you may. Leave one."),
		problem(booking.ErrInvalidTransition, conflict, "invalid-transition", "Mudança não permitida", "Invalid transition",
			"A situação da consulta não permite isto.", "The appointment's status does not allow this."),
		problem(booking.ErrHoldExpired, gone, "hold-expired", "Reserva expirada", "Hold expired",
			"A reserva expirou ou não é deste horário. Escolha o horário de novo.", "The hold has expired, or is not for this time. Choose the time again."),
		problem(booking.ErrOutsideAvailability, refused, "outside-availability", "Fora da agenda", "Outside availability",
			"O médico não atende neste horário. Veja os horários livres.", "The doctor does not see patients at this time. See the free slots."),
		problem(booking.ErrTooSoon, refused, "too-soon", "Cedo demais", "Too soon",
			"O horário já passou ou está perto demais.", "The time is past, or too near."),
		problem(booking.ErrBeyondHorizon, refused, "beyond-horizon", "Longe demais", "Beyond horizon",
			"A agenda ainda não está aberta para esta data.", "Bookings are not open for this date yet."),
		problem(booking.ErrTooLate, refused, "too-late", "Tarde demais", "Too late",
			"O prazo para o paciente desmarcar ou remarcar passou. Ligue para o atendimento.", "The time for the patient to cancel or move it has passed. Call the help desk."),
		problem(booking.ErrTooEarly, conflict, "invalid-transition", "Mudança não permitida", "Invalid transition",
			"A consulta ainda não começou.", "The appointment has not begun."),
		problem(postgres.ErrKeyReused, refused, "idempotency-key-reused", "Idempotency-Key repetida", "Idempotency-Key reused",
			"Esta Idempotency-Key já veio com outro pedido.", "This Idempotency-Key came before with another request."),
		problem(postgres.ErrInProgress, conflict, "idempotency-in-progress", "Pedido em andamento", "Request in progress",
			"O primeiro pedido com esta Idempotency-Key ainda está em andamento.", "The first request with this Idempotency-Key is still running."),
	}
}

// refusal is the problem of an error that an Idempotency-Key remembers: the rules said no. What isn't there may only not
// be known here yet, and what is stale is asked for again with another If-Match: neither is remembered.
func refusal(err error) (web.Problem, bool) {
	for _, rule := range []error{
		booking.ErrOwnHold, booking.ErrSlotTaken, booking.ErrPatientBusy, booking.ErrTooManyHolds, booking.ErrHoldExpired,
		booking.ErrOutsideAvailability, booking.ErrTooSoon, booking.ErrBeyondHorizon,
		booking.ErrInvalidTransition, booking.ErrTooEarly, booking.ErrTooLate,
	} {
		if !errors.Is(err, rule) {
			continue
		}
		for _, m := range Mappings() {
			if errors.Is(rule, m.Err) {
				return m.Problem, true
			}
		}
	}
	return web.Problem{}, false
}

// faultTexts are what a reader is told of a fault that the schema cannot see.
func faultText(code booking.FaultCode) web.Text {
	switch code {
	case booking.FaultTimeZone:
		return web.Text{PT: "Fuso horário desconhecido.", EN: "Unknown time zone."}
	case booking.FaultOrder:
		return web.Text{PT: "O fim deve ser depois do início.", EN: "The end must be after the start."}
	case booking.FaultOverlap:
		return web.Text{PT: "Sobrepõe-se a outro intervalo do mesmo dia.", EN: "Overlaps another interval of the same day."}
	case booking.FaultTooMany:
		return web.Text{PT: "Há horários demais no mesmo dia.", EN: "Too many intervals on one day."}
	case booking.FaultMode, booking.FaultRange:
	}
	return web.Text{PT: "Valor fora do permitido.", EN: "Value out of bounds."}
}

// validation turns the domain's faults into a problem; any other error is passed on.
func validation(err error) error {
	var invalid *booking.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	return web.Validation(faultsOf(invalid)...)
}

// faultsOf reads the faults of an *booking.InvalidError.
func faultsOf(err error) []web.Fault {
	var invalid *booking.InvalidError
	if !errors.As(err, &invalid) {
		return nil
	}
	faults := make([]web.Fault, len(invalid.Faults))
	for i, f := range invalid.Faults {
		faults[i] = web.Fault{Pointer: f.Pointer, Detail: faultText(f.Code)}
	}
	return faults
}
