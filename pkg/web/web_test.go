package web_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidation_AllFaultsAtOnce(t *testing.T) {
	s := start(t, clinicConfig, nil)
	cases := map[string]struct {
		body   string
		pt, en []string
	}{
		"nothing": {`{}`, []string{"/name: é obrigatório", "/cpf: é obrigatório", "/email: é obrigatório"}, []string{"/name: is required", "/cpf: is required", "/email: is required"}},
		"values as names": {
			`{"name":"Ana","cpf":"52998224725","email":"ana@example.com","11111111111":1,"S3nh@":1,"crm":{"number":"1","state":"SP","a/b":1}}`,
			[]string{": não é conhecido", ": não é conhecido", "/crm: não é conhecido"},
			[]string{": is not known", ": is not known", "/crm: is not known"},
		},
		"not a thing": {`[]`, []string{": deve ser um objeto"}, []string{": must be an object"}},
		"everything": {
			`{"name":"","nickname":5,"cpf":"11111111111","email":"a@b","birth_date":"2026-02-30","role":"admin","age":200.5,"phone":"x",
			  "crm":{"number":1,"state":"SPX"},"specialties":["cardiology-and-more","x","x"],"extra":{"a":"1","b":"z"},"admin":true}`,
			[]string{
				"/admin: não é conhecido", "/age: deve ser um número inteiro", "/age: deve ser no máximo 150",
				"/birth_date: deve ser uma data AAAA-MM-DD", "/cpf: deve ser um CPF válido",
				"/crm/number: deve ser um texto", "/crm/state: deve ter no máximo 2 caracteres",
				"/email: deve ser um endereço de e-mail", "/extra/a: deve ser um número inteiro",
				"/extra/b: deve ter pelo menos 3 caracteres", "/name: não pode ficar vazio", "/nickname: deve ser um texto",
				"/phone: deve estar em E.164", "/role: deve ser um destes: patient, doctor",
				"/specialties: não pode repetir itens", "/specialties/0: deve ter no máximo 10 caracteres",
			},
			[]string{
				"/admin: is not known", "/age: must be an integer", "/age: must be at most 150",
				"/birth_date: must be a date YYYY-MM-DD", "/cpf: must be a valid CPF",
				"/crm/number: must be a string", "/crm/state: must have at most 2 characters",
				"/email: must be an e-mail address", "/extra/a: must be an integer",
				"/extra/b: must have at least 3 characters", "/name: must not be empty", "/nickname: must be a string",
				"/phone: must be in E.164", "/role: must be one of: patient, doctor",
				"/specialties: must not repeat items", "/specialties/0: must have at most 10 characters",
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for lang, want := range map[string][]string{"pt-BR": c.pt, "en-US,en;q=0.9": c.en} {
				got := send(t, "POST", s.url+"/v1/patients", c.body, "Accept-Language: "+lang)
				if got.Status != 422 {
					t.Errorf("status %d", got.Status)
				}
				if diff := cmp.Diff(want, got.faults(t)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", lang, diff)
				}
				if strings.Contains(got.Body, "11111111111") || strings.Contains(got.Body, "SPX") {
					t.Errorf("a submitted value comes back: %s", got.Body)
				}
			}
		})
	}
}
