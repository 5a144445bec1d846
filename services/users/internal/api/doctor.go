package api

import (
	"context"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/specialty"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// ListDoctors implements GET /v1/doctors.
func (s *Server) ListDoctors(ctx context.Context, req ListDoctorsRequestObject) (ListDoctorsResponseObject, error) {
	if req.Params.Status != nil && *req.Params.Status != StatusActive {
		return s.unlisted(ctx, req.Params)
	}
	limit := limitOf(req.Params.Limit)
	filter := postgres.DoctorFilter{
		Name: value(req.Params.Name), Specialty: value(req.Params.Specialty),
		Limit: limit + 1, // one more tells whether there is a next page
	}
	var err error
	if filter.After, err = doctorCursor(req.Params.Cursor); err != nil {
		return nil, err
	}
	if req.Params.Crm != nil {
		if filter.CRM, err = account.ParseCRM(*req.Params.Crm); err != nil {
			return nil, err
		}
	}
	found, err := s.Store.Doctors(ctx, filter)
	if err != nil {
		return nil, err
	}
	page := ListDoctors200JSONResponse{Items: []Doctor{}}
	if len(found) > limit {
		found = found[:limit]
		page.NextCursor = encodeDoctorCursor(found[limit-1].Key)
	}
	for _, d := range found {
		page.Items = append(page.Items, publicOf(d.ID, d.Name, d.CRM, d.Specialties))
	}
	return page, nil
}

// unlisted lists doctors whom the public doesn't see, for administrators.
func (s *Server) unlisted(ctx context.Context, p ListDoctorsParams) (ListDoctorsResponseObject, error) {
	caller, ok := auth.FromContext(ctx)
	if !ok {
		return nil, web.Unauthenticated()
	}
	if caller.Role != auth.Admin {
		return nil, web.Forbidden()
	}
	if p.Specialty != nil || p.Crm != nil {
		return nil, web.Validation(web.Fault{Parameter: "status", Detail: web.Text{
			PT: "Combina apenas com o nome.", EN: "Combines with the name only.",
		}})
	}
	found, err := s.people(ctx, postgres.PeopleFilter{Role: account.Doctor, Status: account.Status(*p.Status), Name: value(p.Name)}, p.Limit, p.Cursor)
	if err != nil {
		return nil, err
	}
	page := ListDoctors200JSONResponse{Items: []Doctor{}, NextCursor: found.NextCursor}
	for _, a := range found.Items {
		status := a.Status
		page.Items = append(page.Items, Doctor{Id: a.Id, Name: a.Name, Crm: *a.Crm, Specialties: *a.Specialties, Status: &status})
	}
	return page, nil
}

// GetDoctor implements GET /v1/doctors/{id}. Whoever isn't listed is seen by administrators and themselves alone.
func (s *Server) GetDoctor(ctx context.Context, req GetDoctorRequestObject) (GetDoctorResponseObject, error) {
	u, err := s.Store.User(ctx, req.Id)
	if err != nil {
		return nil, err
	}
	if u.Role != account.Doctor {
		return nil, account.ErrNotFound
	}
	doctor := publicOf(u.ID, string(u.Name), u.CRM, u.Specialties)
	caller, ok := auth.FromContext(ctx)
	if ok && (caller.Role == auth.Admin || caller.ID == u.ID) {
		status := Status(u.Status)
		doctor.Status = &status
	} else if !u.Listed() {
		return nil, account.ErrNotFound
	}
	return GetDoctor200JSONResponse(doctor), nil
}

// ListSpecialties implements GET /v1/specialties.
func (s *Server) ListSpecialties(ctx context.Context, _ ListSpecialtiesRequestObject) (ListSpecialtiesResponseObject, error) {
	list := ListSpecialties200JSONResponse{}
	for _, known := range specialty.All() {
		name := known.PT
		if web.Locale(ctx) == "en" {
			name = known.EN
		}
		list.Items = append(list.Items, Specialty{Code: known.Code, Name: name})
	}
	return list, nil
}

// publicOf shows a doctor to anyone.
func publicOf(id uuid.UUID, name string, crm account.CRM, specialties []string) Doctor {
	return Doctor{Id: id, Name: name, Crm: CRM{Number: crm.Number, State: CRMState(crm.State)}, Specialties: specialties}
}

// value is the text, or none.
func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func limitOf(limit *int) int {
	if limit == nil {
		return 20
	}
	return *limit
}
