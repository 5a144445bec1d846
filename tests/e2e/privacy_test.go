package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/tests/system"
)

// said is one place where something was told: a line of a log, or a message of a stream.
type said struct{ where, text string }

// TestPrivacy lives a patient's life from registration to erasure, with everything logged that can be, and then reads all
// log output and every message of every stream for what does not belong there.
func TestPrivacy(t *testing.T) {
	dir := system.DataDir(t)
	sys := system.Start(t, dir, "LOG_LEVEL=DEBUG", "DEMO=false")
	anyone := system.Client{Origin: sys.Origin}
	const doctorMail, patientMail, newMail = "wanda.ximenes@clinic.example", "zuleica.quixote@mail.example", "zuleica.nova@mail.example"
	doctorID := register(t, anyone, "doctors", map[string]any{
		"name": "Wanda Ximenes", "cpf": "390.533.447-05", "email": doctorMail, "password": password, "phone": "(11) 98877-6655",
		"crm": map[string]string{"number": "778899", "state": "SP"}, "specialties": []string{"cardiology"},
	})
	patientID := register(t, anyone, "patients", map[string]any{
		"name": "Zuleica Quixote", "cpf": "86288366757", "email": patientMail, "password": password, "birth_date": "1987-06-05",
	})
	anyone.Do(t, http.MethodPost, "/v1/auth/login", map[string]string{"email": patientMail, "password": "Errada#2026"}).Want(t, http.StatusUnauthorized)
	login := func(email string) (system.Client, []string) {
		var session struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		anyone.Do(t, http.MethodPost, "/v1/auth/login", map[string]string{"email": email, "password": password}).Want(t, http.StatusOK).JSON(t, &session)
		return system.Client{Origin: sys.Origin, Token: session.Access}, []string{session.Access, session.Refresh}
	}
	doctor, doctorTokens := login(doctorMail)
	patient, patientTokens := login(patientMail)
	admin, _ := system.SignIn(t, sys.Origin, "admin@healthmed.example", "Adm1n#demo")

	doctor.Do(t, http.MethodPut, "/v1/doctors/"+doctorID+"/availability", everyDay()).Want(t, http.StatusOK)
	slot := firstSlot(t, anyone, doctorID)
	var booked appointment
	patient.With("Idempotency-Key", "k1").Do(t, http.MethodPost, "/v1/appointments",
		map[string]any{"doctor_id": doctorID, "starts_at": slot, "reason": "Palpitações noturnas"}).Want(t, http.StatusCreated).JSON(t, &booked)
	patient.With("Idempotency-Key", "k2").Do(t, http.MethodPost, "/v1/appointments/"+booked.ID+"/reschedule",
		map[string]any{"starts_at": slot.Add(time.Hour)}).Want(t, http.StatusOK)
	patient.Do(t, http.MethodPatch, "/v1/me", map[string]string{"email": newMail, "name": "Zuleica Quixote Nova"}).Want(t, http.StatusOK)
	anyone.Do(t, http.MethodPost, "/v1/auth/password/forgot", map[string]string{"email": patientMail}).Want(t, http.StatusAccepted)
	admin.Do(t, http.MethodPost, "/v1/patients/search", map[string]string{"cpf": "862.883.667-57"}).Want(t, http.StatusOK)
	admin.Do(t, http.MethodGet, "/v1/patients?name=zuleica", nil).Want(t, http.StatusOK)
	patient.Do(t, http.MethodGet, "/v1/me/export", nil).Want(t, http.StatusOK)
	var links []string
	for _, to := range []string{patientMail, newMail, doctorMail} {
		links = append(links, mailedTokens(t, sys, to)...)
	}
	patient.Do(t, http.MethodDelete, "/v1/me", nil).Want(t, http.StatusNoContent)
	js := streams(t, sys)
	system.Eventually(t, 30*time.Second, "the erasure is announced, and the appointment cancelled", func() error {
		users, err := js.Stream(t.Context(), "USERS")
		if err != nil {
			return err
		}
		if _, err := users.GetLastMsgForSubject(t.Context(), "healthmed.users.user.erased.v1."+patientID); err != nil {
			return err
		}
		scheduling, err := js.Stream(t.Context(), "SCHEDULING")
		if err != nil {
			return err
		}
		_, err = scheduling.GetLastMsgForSubject(t.Context(), "healthmed.scheduling.appointment.cancelled.v1."+doctorID+"."+booked.ID)
		return err
	})

	secret := slices.Concat(doctorTokens, patientTokens, links, []string{
		admin.Token, password, "Errada#2026", "Adm1n#demo", "39053344705", "86288366757", "Palpita", "98877", "1987-06-05",
	})
	names := []string{"Wanda", "Ximenes", "Zuleica", "zuleica", "Quixote", "quixote"}
	messages := everyMessage(t, js)
	sys.Stop(t)
	logs := everyLine(t, dir)
	address := regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
	token := regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.`)
	formatted := regexp.MustCompile(`[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}`)
	for _, s := range append(logs, messages...) {
		tells := func(what string) { t.Errorf("%s tells %s: %.600s", s.where, what, s.text) }
		for _, word := range secret {
			// The stream of account mail is where one-time tokens travel; nobody but the notifier reads it.
			if strings.Contains(s.text, word) && (s.where != "ACCOUNT_MAIL" || !slices.Contains(links, word)) {
				tells("what nobody may know (" + word[:4] + "…)")
			}
		}
		if token.MatchString(s.text) {
			tells("a token")
		}
		if formatted.MatchString(s.text) {
			tells("a CPF")
		}
		if s.where == "ACCOUNT_MAIL" || s.where == "USERS" {
			if s.where == "USERS" && strings.Contains(s.text, patientID) && !strings.Contains(s.text, ".erased.") {
				tells("of somebody who was erased")
			}
			continue
		}
		if found := address.FindString(s.text); found != "" {
			tells("an e-mail address (" + found + ")")
		}
		for _, name := range names {
			if strings.Contains(s.text, name) {
				tells("a name")
			}
		}
	}
	t.Logf("read %d lines of logs and %d messages", len(logs), len(messages))
}

// mailedTokens waits for an e-mail to an address, and gives the one-time tokens of all that it has.
func mailedTokens(t *testing.T, sys *system.Standalone, to string) (tokens []string) {
	t.Helper()
	oneTime := regexp.MustCompile(`token=([A-Za-z0-9_-]{43})`)
	system.Eventually(t, 30*time.Second, "an e-mail with a token to "+to, func() error {
		for _, m := range mails(t, sys) {
			if !slices.Contains(m.To, to) {
				continue
			}
			source := system.Client{Origin: sys.Inbox}.Do(t, http.MethodGet, "/messages/"+m.ID+"/raw", nil).Want(t, http.StatusOK).Body
			for _, match := range oneTime.FindAllStringSubmatch(textPart(t, source), -1) {
				tokens = append(tokens, match[1])
			}
		}
		if len(tokens) == 0 {
			return os.ErrNotExist
		}
		return nil
	})
	return tokens
}

func streams(t *testing.T, sys *system.Standalone) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(sys.NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// everyMessage reads every message of every stream, with its headers.
func everyMessage(t *testing.T, js jetstream.JetStream) (all []said) {
	t.Helper()
	seen := map[string]int{}
	for info := range js.ListStreams(t.Context()).Info() {
		stream, err := js.Stream(t.Context(), info.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if err != nil {
				continue // purged, or taken from a work queue
			}
			header, err := json.Marshal(m.Header)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, said{info.Config.Name, m.Subject + " " + string(header) + " " + string(m.Data)})
			seen[info.Config.Name]++
		}
	}
	for _, name := range []string{"USERS", "SCHEDULING", "NOTIFICATIONS"} {
		if seen[name] == 0 {
			t.Errorf("nothing was read from %s", name)
		}
	}
	return all
}

// everyLine reads every log file of a data folder.
func everyLine(t *testing.T, dir string) (all []said) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "logs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(body)) {
			all = append(all, said{filepath.Base(file), line})
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d lines of logs: nothing that could have leaked", len(all))
	}
	return all
}
