package api

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// wanted is what the bodies that change an account have in common; nil leaves as it is.
type wanted struct {
	Name, Email, Phone, BirthDate *string
	Locale                        *Locale
	CRM                           *CRM
	Specialties                   *[]string
}

// patch parses it. The formats of openapi.yaml have checked it already.
func (s *Server) patch(w wanted) (account.Patch, error) {
	var p account.Patch
	var faults [4]error
	if w.Name != nil {
		var name account.Name
		name, faults[0] = account.ParseName(*w.Name)
		p.Name = &name
	}
	if w.Email != nil {
		var email account.Email
		email, faults[1] = account.ParseEmail(*w.Email)
		p.Email = &email
	}
	if w.Phone != nil {
		var phone account.Phone
		phone, faults[2] = optionalPhone(*w.Phone)
		p.Phone = &phone
	}
	if w.CRM != nil {
		var crm account.CRM
		crm, faults[3] = account.NewCRM(w.CRM.Number, string(w.CRM.State))
		p.CRM = &crm
	}
	if w.Locale != nil {
		locale := string(*w.Locale)
		p.Locale = &locale
	}
	if w.Specialties != nil {
		p.Specialties = *w.Specialties
	}
	date, err := birthDate(w.BirthDate)
	p.BirthDate = date
	return p, errors.Join(errors.Join(faults[:]...), err)
}

// optionalPhone is a telephone number, or none.
func optionalPhone(s string) (account.Phone, error) {
	if s == "" {
		return "", nil
	}
	return account.ParsePhone(s)
}

// change applies a patch to an account.
func (s *Server) change(ctx context.Context, id uuid.UUID, role account.Role, ifMatch *string, w wanted, own bool) (account.User, error) {
	version, err := versionOf(ifMatch)
	if err != nil {
		return account.User{}, err
	}
	p, err := s.patch(w)
	if err != nil {
		return account.User{}, err
	}
	entry := who(ctx).Of(account.AccountChanged, id, account.OK)
	entry.Detail = map[string]any{"fields": changedFields(w)}
	u, err := s.Store.Change(ctx, id, role, version, entry, func(u account.User) (account.User, error) {
		if p.Specialties != nil && u.Role != account.Doctor {
			return u, web.Validation(web.Fault{Pointer: "/specialties", Detail: web.Text{
				PT: "Só médicos têm especialidades.", EN: "Only doctors have specialties.",
			}})
		}
		return u.Change(p, !own, s.Now()), nil
	})
	if err != nil {
		return account.User{}, err
	}
	return u, translate(s.Identity.Changed(ctx, u))
}

// changedFields names what was asked to change, in order, for the audit log; never the values.
func changedFields(w wanted) []string {
	var names []string
	for name, given := range map[string]bool{
		"name": w.Name != nil, "email": w.Email != nil, "phone": w.Phone != nil, "birth_date": w.BirthDate != nil,
		"locale": w.Locale != nil, "crm": w.CRM != nil, "specialties": w.Specialties != nil,
	} {
		if given {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// erase removes somebody's personal data.
func (s *Server) erase(ctx context.Context, id uuid.UUID, role account.Role, ifMatch *string) error {
	version, err := versionOf(ifMatch)
	if err != nil {
		return err
	}
	if err := s.Store.Erase(ctx, id, role, version, who(ctx).Of(account.AccountErased, id, account.OK)); err != nil {
		return err
	}
	s.Erased()
	return nil
}

// versionOf reads If-Match: one strong ETag, or * for any version. One that is nobody's ETag matches nothing.
func versionOf(ifMatch *string) (int64, error) {
	if ifMatch == nil || strings.TrimSpace(*ifMatch) == "*" {
		return postgres.AnyVersion, nil
	}
	text, err := strconv.Unquote(strings.TrimSpace(*ifMatch))
	if err != nil {
		return 0, account.ErrStale
	}
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil || version < 1 {
		return 0, account.ErrStale
	}
	return version, nil
}

// ChangeMe implements PATCH /v1/me.
func (s *Server) ChangeMe(ctx context.Context, req ChangeMeRequestObject) (ChangeMeResponseObject, error) {
	b := req.Body
	u, err := s.change(ctx, who(ctx).ActorID, "", req.Params.IfMatch, wanted{
		Name: b.Name, Email: b.Email, Phone: b.Phone, BirthDate: b.BirthDate, Locale: b.Locale, Specialties: b.Specialties,
	}, true)
	if err != nil {
		return nil, gone(err)
	}
	return ChangeMe200JSONResponse{profileOf(u)}, nil
}

// EraseMe implements DELETE /v1/me.
func (s *Server) EraseMe(ctx context.Context, req EraseMeRequestObject) (EraseMeResponseObject, error) {
	if err := s.erase(ctx, who(ctx).ActorID, "", req.Params.IfMatch); err != nil {
		return nil, gone(err)
	}
	return EraseMe204Response{}, nil
}

// ChangePassword implements POST /v1/me/password.
func (s *Server) ChangePassword(ctx context.Context, req ChangePasswordRequestObject) (ChangePasswordResponseObject, error) {
	u, err := s.me(ctx)
	if err != nil {
		return nil, err
	}
	// Somebody with a stolen access token must not guess on.
	if err := s.take(ctx, perAccount, string(u.Email), s.Limits.Account); err != nil {
		return nil, err
	}
	if err := s.Identity.ChangePassword(ctx, u, req.Body.CurrentPassword, req.Body.NewPassword, who(ctx)); err != nil {
		return nil, translate(err)
	}
	return ChangePassword204Response{}, s.Store.Refill(ctx, perAccount, string(u.Email))
}

// ExportMe implements GET /v1/me/export.
func (s *Server) ExportMe(ctx context.Context, _ ExportMeRequestObject) (ExportMeResponseObject, error) {
	id := who(ctx).ActorID
	e, err := s.Store.Export(ctx, id, who(ctx).Of(account.AccountExported, id, account.OK))
	if err != nil {
		return nil, gone(err)
	}
	out := ExportMe200JSONResponse{
		Account: accountOf(e.User), Cpf: e.User.CPF.Digits(), Sessions: []SignIn{}, Appointments: []AppointmentLink{}, Audit: []AuditEntry{},
	}
	for _, session := range e.Sessions {
		out.Sessions = append(out.Sessions, SignIn{
			Id: session.ID, CreatedAt: session.CreatedAt.UTC(), ExpiresAt: session.ExpiresAt.UTC(), RevokedAt: utc(session.RevokedAt),
		})
	}
	for _, a := range e.Appointments {
		out.Appointments = append(out.Appointments, AppointmentLink{Id: a.ID, DoctorId: a.DoctorID, PatientId: a.PatientID})
	}
	for _, entry := range e.Audit {
		out.Audit = append(out.Audit, auditOf(entry))
	}
	return out, nil
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// gone: a token that outlived its account is good for nothing.
func gone(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return web.Unauthenticated()
	}
	return err
}
