package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
)

// RegisterPatient implements POST /v1/patients.
func (s *Server) RegisterPatient(ctx context.Context, req RegisterPatientRequestObject) (RegisterPatientResponseObject, error) {
	r, err := personal(account.Patient, req.Body.Name, req.Body.Email, req.Body.Cpf, req.Body.Phone, req.Body.Locale)
	if err != nil {
		return nil, err
	}
	if r.BirthDate, err = birthDate(req.Body.BirthDate); err != nil {
		return nil, err
	}
	u, err := s.register(ctx, r, req.Body.Password)
	if err != nil {
		return nil, err
	}
	return RegisterPatient201JSONResponse{created(u, "/v1/patients/")}, nil
}

// RegisterDoctor implements POST /v1/doctors.
func (s *Server) RegisterDoctor(ctx context.Context, req RegisterDoctorRequestObject) (RegisterDoctorResponseObject, error) {
	r, err := personal(account.Doctor, req.Body.Name, req.Body.Email, req.Body.Cpf, req.Body.Phone, req.Body.Locale)
	if err != nil {
		return nil, err
	}
	if r.CRM, err = account.NewCRM(req.Body.Crm.Number, string(req.Body.Crm.State)); err != nil {
		return nil, err
	}
	r.Specialties = req.Body.Specialties
	u, err := s.register(ctx, r, req.Body.Password)
	if err != nil {
		return nil, err
	}
	return RegisterDoctor201JSONResponse{created(u, "/v1/doctors/")}, nil
}

func (s *Server) register(ctx context.Context, r account.Registration, password string) (account.User, error) {
	done, err := s.spend(ctx)
	if err != nil {
		return account.User{}, err
	}
	u, err := s.Identity.Register(ctx, r, password)
	done(err)
	return u, translate(err)
}

// personal parses what every registration says. The formats of openapi.yaml have checked it already.
func personal(role account.Role, name, email, cpf string, phone *string, locale *Locale) (account.Registration, error) {
	r := account.Registration{Role: role}
	var faults [4]error
	r.Name, faults[0] = account.ParseName(name)
	r.Email, faults[1] = account.ParseEmail(email)
	r.CPF, faults[2] = account.ParseCPF(cpf)
	if phone != nil {
		r.Phone, faults[3] = account.ParsePhone(*phone)
	}
	if locale != nil {
		r.Locale = string(*locale)
	}
	return r, errors.Join(faults[:]...)
}

// birthDate reads a day that the format has checked.
func birthDate(text *string) (*time.Time, error) {
	if text == nil {
		return nil, nil
	}
	date, err := time.Parse(time.DateOnly, *text)
	return &date, err
}

// checkBirthDate refuses days to come and days before anybody alive was born.
func checkBirthDate(text string, now time.Time) error {
	date, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return err
	}
	if date.After(now) || date.Before(now.AddDate(-130, 0, 0)) {
		return errors.New("not a date of birth")
	}
	return nil
}

func created(u account.User, collection string) AccountJSONResponse {
	location, etag := collection+u.ID.String(), etagOf(u)
	return AccountJSONResponse{Body: accountOf(u), Headers: AccountResponseHeaders{Location: &location, ETag: &etag}}
}

// etagOf is the strong validator of a user's representation.
func etagOf(u account.User) string { return fmt.Sprintf(`"%d"`, u.Version) }

// accountOf shows a user to themselves, or to an administrator: the CPF masked.
func accountOf(u account.User) Account {
	a := Account{
		Id: u.ID, Role: Role(u.Role), Status: Status(u.Status), Name: string(u.Name), Email: string(u.Email),
		EmailVerified: u.EmailVerified, Locale: u.Locale, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, Version: u.Version,
		Cpf: optional(u.CPF.Masked()), Phone: optional(string(u.Phone)), PendingEmail: optional(string(u.PendingEmail)),
	}
	if u.BirthDate != nil {
		a.BirthDate = optional(u.BirthDate.Format(time.DateOnly))
	}
	if u.Role == account.Doctor {
		a.Crm = &CRM{Number: u.CRM.Number, State: CRMState(u.CRM.State)}
		a.Specialties = &u.Specialties
	}
	return a
}

// optional leaves an empty text out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// translate turns errors that carry a time into problems; the others are in Mappings.
func translate(err error) error {
	var busy *identity.Busy
	if errors.As(err, &busy) {
		return web.Unavailable(busy.RetryAfter)
	}
	return err
}
