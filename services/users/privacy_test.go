package users_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/services/users/internal/userstest"
)

func TestErase_LeavesNothingOfThePerson(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	doctor := crowd.Doctor(fields{"name": "Irene Inconfundível", "phone": "(11) 98765-4321"})
	s.Do("PATCH", "/v1/me", doctor.Token, fields{"name": "Irene Inesquecível"}).Want(200)
	userstest.NextEvent(t, s, "healthmed.users.user.updated.v1."+doctor.ID)
	s.Do("DELETE", "/v1/me", doctor.Token, nil, "If-Match", `"1"`).Problem(412, "precondition-failed")
	s.Do("DELETE", "/v1/me", doctor.Token, nil, "If-Match", `"2"`).Want(204)

	env := userstest.NextEvent(t, s, "healthmed.users.user.erased.v1."+doctor.ID)
	erased, ok := env.Data.(*events.UserErased)
	if !ok || env.Sequence != 3 || erased.Role != "doctor" || erased.UserID.String() != doctor.ID {
		t.Errorf("got event %+v of version %d", env.Data, env.Sequence)
	}
	stream, err := userstest.JetStream(t, s).Stream(t.Context(), bus.Users)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("healthmed.users.user.*.v1."+doctor.ID))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]uint64{"healthmed.users.user.erased.v1." + doctor.ID: 1}, info.State.Subjects); diff != "" {
		t.Errorf("subjects of the person (-want +got):\n%s", diff)
	}
	for _, trace := range []string{"Irene", "irene", doctor.Email, "11987654321"} {
		if found := whereIs(t, s, trace); len(found) > 0 {
			t.Errorf("%q is still in %v", trace, found)
		}
	}
	s.Do("GET", "/v1/me", doctor.Token, nil).Problem(401, "unauthenticated")
	s.Do("PATCH", "/v1/me", doctor.Token, fields{"name": "De Volta"}).Problem(401, "unauthenticated")
	s.Do("DELETE", "/v1/me", doctor.Token, nil).Problem(401, "unauthenticated")
	s.Do("GET", "/v1/me/export", doctor.Token, nil).Problem(401, "unauthenticated")
	s.Do("POST", "/v1/auth/refresh", "", fields{"refresh_token": doctor.Refresh}).Problem(401, "unauthenticated")
	s.Do("POST", "/v1/auth/login", "", fields{"email": doctor.Email, "password": userstest.Password}).Problem(401, "invalid-credentials")
	s.Do("GET", "/v1/doctors/"+doctor.ID, "", nil).Problem(404, "not-found")
	s.Do("GET", "/v1/doctors/"+doctor.ID, crowd.Admin().Token, nil).Problem(404, "not-found")
	// Who comes back is a new person.
	if back := crowd.Doctor(fields{"email": doctor.Email, "cpf": doctor.CPF}); back.ID == doctor.ID {
		t.Error("the old account is back")
	}
}

// A relay may have had an event in its hands while the person was erased: what it publishes afterwards goes too.
func TestErase_SweepsOnceMore(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	patient := (&userstest.Crowd{Service: s}).Patient()
	s.Do("DELETE", "/v1/me", patient.Token, nil).Want(204)
	userstest.NextEvent(t, s, "healthmed.users.user.erased.v1."+patient.ID)
	late := &events.UserUpdated{
		UserID: uuid.MustParse(patient.ID), Role: "patient", Status: "active", Name: patient.Name, Email: patient.Email, Locale: "pt-BR", OccurredAt: time.Now().UTC(),
	}
	userstest.Publish(t, s, late, 2)
	open := func() int { return userstest.Count(t, s, `SELECT count(*) FROM erasures WHERE finished_at IS NULL`) }
	if n := open(); n != 1 {
		t.Fatalf("%d erasures are open", n)
	}
	s = later(t, s, 3*time.Minute)
	userstest.Eventually(t, "the erasure is finished", func() bool { return open() == 0 })
	stream, err := userstest.JetStream(t, s).Stream(t.Context(), bus.Users)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("healthmed.users.user.*.v1."+patient.ID))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]uint64{"healthmed.users.user.erased.v1." + patient.ID: 1}, info.State.Subjects); diff != "" {
		t.Errorf("subjects of the person (-want +got):\n%s", diff)
	}
}

// whereIs names the tables of the service that hold a text.
func whereIs(t *testing.T, s *userstest.Service, text string) (tables []string) {
	t.Helper()
	userstest.Database(t, s, func(conn *pgx.Conn) error {
		rows, err := conn.Query(t.Context(), `
			SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind = 'r' AND n.nspname = 'public'`)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, table := range all {
			var found bool
			err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM `+table+` r WHERE r::text LIKE '%' || $1 || '%'
				OR r::text LIKE '%' || encode(convert_to($1, 'UTF8'), 'hex') || '%')`, text).Scan(&found)
			if err != nil {
				return err
			}
			if found {
				tables = append(tables, table)
			}
		}
		return nil
	})
	return tables
}

func TestExport_TellsTheOwnerEverything(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	patient := crowd.Patient(fields{"birth_date": "1990-05-20"})
	crowd.SignIn(patient, userstest.Password)
	s.Do("GET", "/v1/patients/"+patient.ID, crowd.Admin().Token, nil).Want(200)
	export := s.Do("GET", "/v1/me/export", patient.Token, nil).Want(200)
	if export.Text("cpf") != patient.CPF || export.Text("account", "email") != patient.Email || export.Text("account", "birth_date") != "1990-05-20" {
		t.Errorf("got %s", export.Body)
	}
	if got := len(export.JSON()["sessions"].([]any)); got != 2 {
		t.Errorf("got %d sign-ins, want 2", got)
	}
	var actions []string
	for _, e := range export.JSON()["audit"].([]any) {
		actions = append(actions, e.(map[string]any)["action"].(string))
	}
	if diff := cmp.Diff([]string{"account_export", "account_read", "sign_in", "sign_in"}, actions); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func appointment(doctor, patient userstest.Person, version int64) events.Appointment {
	start := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	return events.Appointment{
		AppointmentID: uuid.NewSHA1(uuid.Nil, []byte(doctor.ID+patient.ID)), DoctorID: uuid.MustParse(doctor.ID), PatientID: uuid.MustParse(patient.ID),
		StartsAt: start, EndsAt: start.Add(30 * time.Minute), TimeZone: "America/Sao_Paulo", Status: "booked", Version: version,
		Actor: events.Actor{Role: "patient", ID: uuid.MustParse(patient.ID)}, OccurredAt: start.Add(-24 * time.Hour),
	}
}

func TestDoctor_ReadsOnlyPatientsWhoHaveAnAppointmentWithThem(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	userstest.Scheduling(t, s)
	crowd := &userstest.Crowd{Service: s}
	doctor, other, patient := crowd.Doctor(), crowd.Doctor(), crowd.Patient()
	read := func(p userstest.Person) userstest.Response {
		return s.Do("GET", "/v1/patients/"+patient.ID, p.Token, nil)
	}
	read(doctor).Problem(404, "not-found")
	userstest.Publish(t, s, &events.AppointmentBooked{Appointment: appointment(doctor, patient, 1)}, 1)
	userstest.Eventually(t, "the doctor may read the patient", func() bool { return read(doctor).Status == 200 })
	if got := read(doctor).Want(200).Text("cpf"); !strings.HasPrefix(got, "***.") {
		t.Errorf("the doctor sees CPF %q", got)
	}
	read(other).Problem(404, "not-found")
	read(patient).Problem(403, "forbidden")
	s.Do("GET", "/v1/patients/"+doctor.ID, doctor.Token, nil).Problem(404, "not-found")

	cancelled := appointment(doctor, patient, 2)
	cancelled.Status = "cancelled"
	userstest.Publish(t, s, &events.AppointmentCancelled{Appointment: cancelled, CancelledBy: cancelled.Actor}, 2)
	userstest.Eventually(t, "the doctor may no longer read the patient", func() bool { return read(doctor).Status == 404 })
	// An old event that comes late changes nothing.
	userstest.Publish(t, s, &events.AppointmentBooked{Appointment: appointment(doctor, patient, 1)}, 1)
	marker := appointment(other, patient, 1)
	userstest.Publish(t, s, &events.AppointmentBooked{Appointment: marker}, 1)
	userstest.Eventually(t, "the later event has been taken in", func() bool { return read(other).Status == 200 })
	read(doctor).Problem(404, "not-found")

	admin := crowd.Admin()
	var denied, ok int
	for _, item := range s.Do("GET", "/v1/audit?action=account_read&subject_id="+patient.ID+"&limit=100", admin.Token, nil).Want(200).JSON()["items"].([]any) {
		entry := item.(map[string]any)
		if entry["actor_role"] != "doctor" || entry["address"] != "127.0.0.1" || entry["request_id"] == "" {
			t.Errorf("got entry %v", entry)
		}
		if entry["outcome"] == "denied" {
			denied++
		} else {
			ok++
		}
	}
	if denied < 3 || ok < 3 {
		t.Errorf("the log has %d denied and %d granted reads", denied, ok)
	}
}

func TestAdmin_FindsAndChangesPatients(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	admin := crowd.Admin()
	ana, bia := crowd.Patient(fields{"name": "Ana Três", "phone": "11987654321"}), crowd.Patient(fields{"name": "Bia Dois"})
	ids := func(res userstest.Response) (ids []string) {
		for _, item := range res.Want(200).JSON()["items"].([]any) {
			ids = append(ids, item.(map[string]any)["id"].(string))
		}
		return ids
	}
	first := s.Do("GET", "/v1/patients?limit=1", admin.Token, nil)
	second := s.Do("GET", "/v1/patients?limit=1&cursor="+first.Text("next_cursor"), admin.Token, nil)
	if diff := cmp.Diff([]string{ana.ID, bia.ID}, append(ids(first), ids(second)...)); diff != "" || second.Text("next_cursor") != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if got := ids(s.Do("GET", "/v1/patients?name=b%C3%ADa", admin.Token, nil)); !cmp.Equal(got, []string{bia.ID}) {
		t.Errorf("by name: got %v", got)
	}
	for _, search := range []fields{{"cpf": ana.CPF}, {"email": strings.ToUpper(ana.Email)}, {"phone": "+5511987654321"}, {"cpf": ana.CPF, "email": ana.Email}} {
		if got := ids(s.Do("POST", "/v1/patients/search", admin.Token, search)); !cmp.Equal(got, []string{ana.ID}) {
			t.Errorf("by %v: got %v", search, got)
		}
	}
	if got := ids(s.Do("POST", "/v1/patients/search", admin.Token, fields{"cpf": ana.CPF, "email": bia.Email})); got != nil {
		t.Errorf("got %v", got)
	}
	s.Do("POST", "/v1/patients/search", admin.Token, fields{}).Problem(422, "validation")
	s.Do("PATCH", "/v1/patients/"+ana.ID, admin.Token, fields{"email": bia.Email}).Problem(409, "already-registered")
	res := s.Do("PATCH", "/v1/patients/"+ana.ID, admin.Token, fields{"email": "fixed@example.com"}, "If-Match", `"1"`).Want(200)
	if res.Text("email") != "fixed@example.com" || res.Text("email_verified") != "false" {
		t.Errorf("got %s", res.Body)
	}
	userstest.MailToken(t, s, accountmail.VerifyEmail, ana.ID, "fixed@example.com")
	s.Do("DELETE", "/v1/patients/"+ana.ID, admin.Token, nil, "If-Match", `"1"`).Problem(412, "precondition-failed")
	s.Do("DELETE", "/v1/patients/"+ana.ID, admin.Token, nil).Want(204)
	s.Do("GET", "/v1/patients/"+ana.ID, admin.Token, nil).Problem(404, "not-found")

	made := s.Do("POST", "/v1/admins", admin.Token, fields{"name": "Outra Admin", "email": "second@example.com", "password": userstest.Password}).Want(201)
	if made.Text("role") != "admin" || made.Text("cpf") != "" {
		t.Errorf("got %s", made.Body)
	}
	s.Do("POST", "/v1/auth/login", "", fields{"email": "second@example.com", "password": userstest.Password}).Want(200)
	entries := s.Do("GET", "/v1/audit?limit=2&actor_id="+admin.ID, admin.Token, nil).Want(200)
	next := s.Do("GET", "/v1/audit?limit=2&actor_id="+admin.ID+"&cursor="+entries.Text("next_cursor"), admin.Token, nil).Want(200)
	if a, b := string(entries.Body), string(next.Body); a == b || len(next.JSON()["items"].([]any)) != 2 {
		t.Errorf("pages of the audit log: %s and %s", a, b)
	}
}

// Nothing that names a person leaks: not into logs at their most talkative, nor the wrong events.
func TestLogsAndEvents_NameNobody(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	patient, doctor, admin := crowd.Patient(fields{"name": "Zuleica Zimbábue"}), crowd.Doctor(fields{"name": "Yolanda Ypsilon"}), crowd.Admin()
	s.Do("POST", "/v1/patients", "", patientLike(patient)).Problem(409, "already-registered")
	s.Do("POST", "/v1/auth/login", "", fields{"email": patient.Email, "password": "Errada-1x"}).Want(401)
	s.Do("PATCH", "/v1/me", patient.Token, fields{"email": "zz@example.com"}).Want(200)
	verify := userstest.MailToken(t, s, accountmail.VerifyEmail, patient.ID, "zz@example.com")
	s.Do("POST", "/v1/auth/password/forgot", "", fields{"email": patient.Email}).Want(202)
	reset := userstest.MailToken(t, s, accountmail.ResetPassword, patient.ID, patient.Email)
	s.Do("POST", "/v1/patients/search", admin.Token, fields{"cpf": patient.CPF}).Want(200)
	s.Do("GET", "/v1/patients?name=zuleica", admin.Token, nil).Want(200)
	s.Do("GET", "/v1/me/export", patient.Token, nil).Want(200)
	s.Do("DELETE", "/v1/me", patient.Token, nil).Want(204)
	userstest.NextEvent(t, s, "healthmed.users.user.erased.v1."+patient.ID)
	userstest.NextEvent(t, s, "healthmed.users.user.registered.v1."+doctor.ID)

	secrets := []string{userstest.Password, "Errada-1x", verify, reset, userstest.AdminPassword}
	personal := []string{"@example.com", "uleica", "olanda", "zuleica"}
	for _, p := range []userstest.Person{patient, doctor, admin} {
		secrets = append(secrets, p.Token, p.Refresh)
		if p.CPF != "" {
			secrets = append(secrets, p.CPF, p.CPF[:3]+"."+p.CPF[3:6]+"."+p.CPF[6:9]+"-"+p.CPF[9:])
		}
	}
	logs := s.Logs.String()
	if !strings.Contains(logs, patient.ID) && !strings.Contains(logs, "/v1/") {
		t.Fatal("nothing was logged that could have leaked")
	}
	for _, word := range append(personal, secrets...) {
		if i := strings.Index(logs, word); i >= 0 {
			t.Errorf("the logs say %q: …%s…", word, logs[max(0, i-200):min(len(logs), i+50)])
		}
	}
	for _, event := range everyEvent(t, s) {
		for _, word := range secrets {
			if strings.Contains(event, word) {
				t.Errorf("an event says %q: %s", word, event)
			}
		}
	}
}

func patientLike(p userstest.Person) map[string]any {
	return map[string]any{"name": p.Name, "cpf": p.CPF, "email": p.Email, "password": userstest.Password}
}

// everyEvent reads the whole stream USERS.
func everyEvent(t *testing.T, s *userstest.Service) (all []string) {
	t.Helper()
	stream, err := userstest.JetStream(t, s).Stream(t.Context(), bus.Users)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			continue // purged
		}
		header, err := json.Marshal(msg.Header)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, msg.Subject+string(header)+string(msg.Data))
	}
	if len(all) == 0 {
		t.Fatal("no events")
	}
	return all
}
