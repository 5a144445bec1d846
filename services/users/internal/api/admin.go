package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// ListPatients implements GET /v1/patients.
func (s *Server) ListPatients(ctx context.Context, req ListPatientsRequestObject) (ListPatientsResponseObject, error) {
	page, err := s.people(ctx, postgres.PeopleFilter{Role: account.Patient, Name: value(req.Params.Name)}, req.Params.Limit, req.Params.Cursor)
	if err != nil {
		return nil, err
	}
	return ListPatients200JSONResponse{page}, nil
}

// SearchPatients implements POST /v1/patients/search.
func (s *Server) SearchPatients(ctx context.Context, req SearchPatientsRequestObject) (SearchPatientsResponseObject, error) {
	filter := postgres.PeopleFilter{Role: account.Patient}
	var err error
	if req.Body.Cpf != nil {
		if filter.CPF, err = account.ParseCPF(*req.Body.Cpf); err != nil {
			return nil, err
		}
	}
	if req.Body.Email != nil {
		if filter.Email, err = account.ParseEmail(*req.Body.Email); err != nil {
			return nil, err
		}
	}
	if req.Body.Phone != nil {
		if filter.Phone, err = account.ParsePhone(*req.Body.Phone); err != nil {
			return nil, err
		}
	}
	page, err := s.people(ctx, filter, nil, nil)
	if err != nil {
		return nil, err
	}
	return SearchPatients200JSONResponse{page}, nil
}

// people lists accounts, and notes whose were shown.
func (s *Server) people(ctx context.Context, f postgres.PeopleFilter, limit *int, cursor *string) (AccountsJSONResponse, error) {
	n := limitOf(limit)
	f.Limit = n + 1 // one more tells whether there is a next page
	if cursor != nil {
		after, err := decodeCursor[uuid.UUID](*cursor)
		if err != nil {
			return AccountsJSONResponse{}, badCursor()
		}
		f.After = after
	}
	found, err := s.Store.People(ctx, f)
	if err != nil {
		return AccountsJSONResponse{}, err
	}
	page := AccountsJSONResponse{Items: []Account{}}
	if len(found) > n {
		found = found[:n]
		page.NextCursor = encodeCursor(found[n-1].ID)
	}
	shown := []string{}
	for _, u := range found {
		page.Items = append(page.Items, accountOf(u))
		shown = append(shown, u.ID.String())
	}
	entry := who(ctx).Of(account.AccountsListed, uuid.Nil, account.OK)
	entry.Detail = map[string]any{"shown": shown}
	return page, s.Store.Audit(ctx, entry)
}

// GetPatient implements GET /v1/patients/{id}.
func (s *Server) GetPatient(ctx context.Context, req GetPatientRequestObject) (GetPatientResponseObject, error) {
	entry := who(ctx)
	if entry.ActorRole == account.Doctor {
		has, err := s.Store.HasAppointment(ctx, entry.ActorID, req.Id)
		if err != nil {
			return nil, err
		}
		if !has { // as if there were no such patient
			if err := s.Store.Audit(ctx, entry.Of(account.AccountRead, req.Id, account.Denied)); err != nil {
				return nil, err
			}
			return nil, account.ErrNotFound
		}
	}
	u, err := s.Store.User(ctx, req.Id)
	if err != nil {
		return nil, err
	}
	if u.Role != account.Patient {
		return nil, account.ErrNotFound
	}
	if err := s.Store.Audit(ctx, entry.Of(account.AccountRead, req.Id, account.OK)); err != nil {
		return nil, err
	}
	return GetPatient200JSONResponse{profileOf(u)}, nil
}

// ChangePatient implements PATCH /v1/patients/{id}.
func (s *Server) ChangePatient(ctx context.Context, req ChangePatientRequestObject) (ChangePatientResponseObject, error) {
	b := req.Body
	u, err := s.change(ctx, req.Id, account.Patient, req.Params.IfMatch, wanted{
		Name: b.Name, Email: b.Email, Phone: b.Phone, BirthDate: b.BirthDate, Locale: b.Locale,
	}, false)
	if err != nil {
		return nil, err
	}
	return ChangePatient200JSONResponse{profileOf(u)}, nil
}

// ErasePatient implements DELETE /v1/patients/{id}.
func (s *Server) ErasePatient(ctx context.Context, req ErasePatientRequestObject) (ErasePatientResponseObject, error) {
	if err := s.erase(ctx, req.Id, account.Patient, req.Params.IfMatch); err != nil {
		return nil, err
	}
	return ErasePatient204Response{}, nil
}

// ChangeDoctor implements PATCH /v1/doctors/{id}.
func (s *Server) ChangeDoctor(ctx context.Context, req ChangeDoctorRequestObject) (ChangeDoctorResponseObject, error) {
	b := req.Body
	u, err := s.change(ctx, req.Id, account.Doctor, req.Params.IfMatch, wanted{
		Name: b.Name, Email: b.Email, Phone: b.Phone, Locale: b.Locale, CRM: b.Crm, Specialties: b.Specialties,
	}, false)
	if err != nil {
		return nil, err
	}
	return ChangeDoctor200JSONResponse{profileOf(u)}, nil
}

// EraseDoctor implements DELETE /v1/doctors/{id}.
func (s *Server) EraseDoctor(ctx context.Context, req EraseDoctorRequestObject) (EraseDoctorResponseObject, error) {
	if err := s.erase(ctx, req.Id, account.Doctor, req.Params.IfMatch); err != nil {
		return nil, err
	}
	return EraseDoctor204Response{}, nil
}

// VerifyDoctor implements POST /v1/doctors/{id}/verification.
func (s *Server) VerifyDoctor(ctx context.Context, req VerifyDoctorRequestObject) (VerifyDoctorResponseObject, error) {
	entry := who(ctx).Of(account.DoctorDecided, req.Id, account.OK)
	entry.Detail = map[string]any{"decision": req.Body.Decision}
	if req.Body.Reason != nil {
		entry.Detail["reason"] = *req.Body.Reason
	}
	u, err := s.Store.Change(ctx, req.Id, account.Doctor, postgres.AnyVersion, entry, func(u account.User) (account.User, error) {
		return u.Decide(req.Body.Decision == VerificationDecisionApproved, s.Now())
	})
	if err != nil {
		return nil, err
	}
	return VerifyDoctor200JSONResponse{profileOf(u)}, nil
}

// RegisterAdmin implements POST /v1/admins.
func (s *Server) RegisterAdmin(ctx context.Context, req RegisterAdminRequestObject) (RegisterAdminResponseObject, error) {
	r := account.Registration{Role: account.Admin}
	w := wanted{Name: &req.Body.Name, Email: &req.Body.Email, Phone: req.Body.Phone, Locale: req.Body.Locale}
	p, err := s.patch(w)
	if err != nil {
		return nil, err
	}
	r.Name, r.Email = *p.Name, *p.Email
	if p.Phone != nil {
		r.Phone = *p.Phone
	}
	if p.Locale != nil {
		r.Locale = *p.Locale
	}
	u, err := s.Identity.Register(ctx, r, req.Body.Password)
	if err != nil {
		return nil, translate(err)
	}
	if err := s.Store.Audit(ctx, who(ctx).Of(account.AdminRegistered, u.ID, account.OK)); err != nil {
		return nil, err
	}
	return RegisterAdmin201JSONResponse{created(u, "/v1/admins/")}, nil
}

type auditPosition struct {
	At time.Time `json:"t"`
	ID uuid.UUID `json:"i"`
}

// ListAudit implements GET /v1/audit.
func (s *Server) ListAudit(ctx context.Context, req ListAuditRequestObject) (ListAuditResponseObject, error) {
	n := limitOf(req.Params.Limit)
	f := postgres.AuditFilter{Action: account.Action(value(req.Params.Action)), Limit: n + 1}
	if req.Params.ActorId != nil {
		f.ActorID = *req.Params.ActorId
	}
	if req.Params.SubjectId != nil {
		f.SubjectID = *req.Params.SubjectId
	}
	if req.Params.From != nil {
		f.From = *req.Params.From
	}
	if req.Params.To != nil {
		f.To = *req.Params.To
	}
	if req.Params.Cursor != nil {
		p, err := decodeCursor[auditPosition](*req.Params.Cursor)
		if err != nil {
			return nil, badCursor()
		}
		f.BeforeAt, f.BeforeID = p.At, p.ID
	}
	found, err := s.Store.AuditLog(ctx, f)
	if err != nil {
		return nil, err
	}
	page := ListAudit200JSONResponse{Items: []AuditEntry{}}
	if len(found) > n {
		found = found[:n]
		page.NextCursor = encodeCursor(auditPosition{At: found[n-1].At, ID: found[n-1].ID})
	}
	for _, e := range found {
		page.Items = append(page.Items, auditOf(e))
	}
	return page, s.Store.Audit(ctx, who(ctx).Of(account.AuditRead, f.SubjectID, account.OK))
}

func auditOf(e account.Entry) AuditEntry {
	out := AuditEntry{
		Id: e.ID, At: e.At, Action: string(e.Action), Outcome: AuditEntryOutcome(e.Outcome),
		RequestId: optional(e.RequestID),
	}
	if e.Address.IsValid() {
		out.Address = optional(e.Address.String())
	}
	if e.ActorID != uuid.Nil {
		id, role := e.ActorID, Role(e.ActorRole)
		out.ActorId, out.ActorRole = &id, &role
	}
	if e.SubjectID != uuid.Nil {
		id := e.SubjectID
		out.SubjectId = &id
	}
	if len(e.Detail) > 0 {
		out.Detail = &e.Detail
	}
	return out
}
