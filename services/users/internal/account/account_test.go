package account_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/healthmed/healthmed/services/users/internal/account"
)

func TestParseCPF(t *testing.T) {
	cases := []struct {
		in string
		ok bool
	}{
		{"52998224725", true}, {"529.982.247-25", true}, {"11144477735", true},
		{"52998224724", false}, {"52998224715", false}, {"529982247-25", false}, {"529.982.24725", false},
		{"", false}, {" 52998224725", false}, {"5299822472", false}, {"529982247255", false}, {"٥٢٩٩٨٢٢٤٧٢٥", false},
	}
	for n := range 10 {
		cases = append(cases, struct {
			in string
			ok bool
		}{strings.Repeat(fmt.Sprint(n), 11), false})
	}
	for _, c := range cases {
		cpf, err := account.ParseCPF(c.in)
		if (err == nil) != c.ok {
			t.Errorf("%q: got error %v, want accepted %v", c.in, err, c.ok)
		}
		if err == nil && len(cpf.Digits()) != 11 {
			t.Errorf("%q: got digits %q", c.in, cpf.Digits())
		}
	}
}

func TestCPF_PrintsMasked(t *testing.T) {
	cpf, err := account.ParseCPF("52998224725")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%s", "%#v", "%q"} {
		if got := fmt.Sprintf(verb, cpf); !strings.Contains(got, "***.982.247-**") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// Of each CPF any single wrong digit is noticed: that is what check digits are for.
// The check digits computed the other way round (weights rising from the left, remainder taken as it is), so that a
// slip in the weights cannot be in both.
func TestParseCPF_AcceptsExactlyTheRightCheckDigits(t *testing.T) {
	checkDigit := func(digits string, firstWeight int) byte {
		sum := 0
		for i, d := range digits {
			sum += (firstWeight + i) * int(d-'0')
		}
		return '0' + byte(sum%11%10)
	}
	rapid.Check(t, func(t *rapid.T) {
		nine := rapid.StringMatching(`[0-9]{9}`).Draw(t, "nine")
		first := checkDigit(nine, 1)
		second := checkDigit(nine+string(first), 0)
		right := nine + string(first) + string(second)
		if strings.Count(right, right[:1]) == len(right) {
			right = "" // eleven times the same digit is never issued
		}
		for check := range 100 {
			cpf := nine + fmt.Sprintf("%02d", check)
			if _, err := account.ParseCPF(cpf); (err == nil) != (cpf == right) {
				t.Fatalf("%s: %v; only %q is right", cpf, err, right)
			}
		}
	})
}

func TestParseEmail(t *testing.T) {
	cases := []struct{ in, want string }{
		{"Ana.Silva+x@Example.COM", "ana.silva+x@example.com"},
		{" ana@example.com ", "ana@example.com"},
		{"ana@médico.com.br", "ana@xn--mdico-bsa.com.br"},
		{"ana@ＥＸＡＭＰＬＥ.com", "ana@example.com"},
		{"аna@example.com", ""},                                       // Cyrillic а
		{"\u212Aarla@example.com", ""}, {"\u0130ris@example.com", ""}, // lower case makes ASCII of them: Kelvin sign, dotted I
		{"ana＠example.com", ""}, {"ana@@example.com", ""}, {"@example.com", ""}, {"ana@", ""}, {"ana@localhost", ""},
		{"ana@127.0.0.1", ""}, {"ana@[127.0.0.1]", ""}, {`"ana b"@example.com`, ""}, {"ana b@example.com", ""},
		{".ana@example.com", ""}, {"ana.@example.com", ""}, {"a..na@example.com", ""}, {"ana@exa_mple.com", ""},
		{"ana@-example.com", ""}, {"ana@example..com", ""}, {"ana@example.com.", ""},
		{"ana@example.com\r\nBcc: x@example.com", ""}, {"ana\x00@example.com", ""}, {"Ana <ana@example.com>", ""},
		{strings.Repeat("a", 65) + "@example.com", ""}, {"ana\u202e@example.com", ""}, {"ana@exam\u00adple.com", "ana@example.com"},
	}
	for _, c := range cases {
		got, err := account.ParseEmail(c.in)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestParsePhone(t *testing.T) {
	cases := []struct{ in, want string }{
		{"(11) 98765-4321", "+5511987654321"}, {"011 3456-7890", "+551134567890"}, {"+55 11 98765-4321", "+5511987654321"},
		{"+1 (202) 555-0123", "+12025550123"}, {"+351 912 345 678", "+351912345678"},
		{"98765-4321", ""}, {"(01) 98765-4321", ""}, {"(11) 88765-4321", ""}, {"+55 11 8765", ""}, {"+", ""}, {"", ""},
		{"+0123456789", ""}, {"11987654321; DROP TABLE users", ""}, {"+1234567890123456", ""},
	}
	for _, c := range cases {
		if got, err := account.ParsePhone(c.in); string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestParseName(t *testing.T) {
	cases := []struct{ in, want string }{
		{"  Ana   Silva ", "Ana Silva"}, {"D'Ávila Jr.", "D'Ávila Jr."}, {"Jose\u0301", "José"}, {"李小龍", "李小龍"},
		{"A", ""}, {"12", ""}, {"Ana\tSilva", ""}, {"Ana\nSilva", ""}, {"<b>Ana</b>", ""}, {"{{Ana}}", ""}, {"${Ana}", ""},
		{"Ana\u202eSilva", ""}, {"Ana\u200bSilva", ""}, {"\u3164\u3164", ""}, {"Ana \uffa0", ""}, {"An\u034fa", ""}, // nobody sees these
		{"Robert'); DROP TABLE users;--", ""}, {"\xff\xfeAna", ""},
		{strings.Repeat("a", 121), ""},
	}
	for _, c := range cases {
		if got, err := account.ParseName(c.in); string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestCRM(t *testing.T) {
	cases := []struct {
		in   string
		want account.CRM
		ok   bool
	}{
		{"123456", account.CRM{Number: "123456"}, true},
		{"0123456-sp", account.CRM{Number: "123456", State: "SP"}, true},
		{"CRM/RJ 5234567", account.CRM{Number: "5234567", State: "RJ"}, true},
		{"crm 12 MG", account.CRM{Number: "12", State: "MG"}, true},
		{"SP 12 SP", account.CRM{}, false}, {"12-XX", account.CRM{}, false}, {"000", account.CRM{}, false},
		{"12345678901", account.CRM{}, false}, {"", account.CRM{}, false}, {"1' OR '1'='1", account.CRM{}, false},
	}
	for _, c := range cases {
		got, err := account.ParseCRM(c.in)
		if (err == nil) != c.ok || (c.ok && got != c.want) {
			t.Errorf("%q: got %+v, %v; want %+v", c.in, got, err, c.want)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for password, ok := range map[string]bool{
		"Correta-1": true, "Çéu azul 1": true, "aaaaaaA1": false, "AAAAAA1-": false, "aaaaaa1-": false, "Aaaaaaa-": false,
		"Aa1-": false, "Correta-1\n": false, strings.Repeat("Aa1-", 65): false,
	} {
		if err := account.CheckPassword(password); (err == nil) != ok {
			t.Errorf("%q: got %v, want accepted %v", password, err, ok)
		}
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"Ângela d'Ávila": "angela davila", "JOSÉ-Maria": "jose maria", "Conceição": "conceicao", "ﬁlipe": "filipe",
	} {
		if got := account.Fold(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if diff := cmp.Diff([]string{"ana", "silva"}, account.Words("Silva Ana SILVA")); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseCPF(f *testing.F) {
	for _, seed := range []string{"52998224725", "529.982.247-25", "000.000.000-00", "", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cpf, err := account.ParseCPF(s)
		if err != nil {
			return
		}
		again, err := account.ParseCPF(cpf.Digits())
		if err != nil || again != cpf {
			t.Fatalf("%q: digits %q don't parse to the same", s, cpf.Digits())
		}
	})
}

func FuzzParseCRM(f *testing.F) {
	for _, seed := range []string{"123456", "123456-SP", "CRM/SP 0012", "XX12"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		crm, err := account.ParseCRM(s)
		if err != nil {
			return
		}
		text := crm.Number
		if crm.State != "" {
			text += "-" + crm.State
		}
		if again, err := account.ParseCRM(text); err != nil || again != crm {
			t.Fatalf("%q: %+v doesn't parse to the same", s, crm)
		}
	})
}

func FuzzParseEmail(f *testing.F) {
	for _, seed := range []string{"ana@example.com", "ana@médico.com.br", "a@b@c.d", "ana＠example.com", "x@xn--a.com", "x@a.\xc20"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		email, err := account.ParseEmail(s)
		if err != nil {
			return
		}
		if again, err := account.ParseEmail(string(email)); err != nil || again != email {
			t.Fatalf("%q: %q doesn't parse to the same: %q %v", s, email, again, err)
		}
		if strings.ContainsFunc(string(email), func(r rune) bool { return r > 126 || r <= ' ' || unicode.IsUpper(r) }) || len(email) > 254 {
			t.Fatalf("%q gives %q", s, email)
		}
	})
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{"Ana Silva", "D’Ávila", "e\u0301\u0301", "a\u0300 \u0300b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := account.ParseName(s)
		if err != nil {
			return
		}
		if again, err := account.ParseName(string(name)); err != nil || again != name {
			t.Fatalf("%q: %q doesn't parse to the same: %q %v", s, name, again, err)
		}
		for _, word := range account.Words(string(name)) {
			if account.Fold(word) != word {
				t.Fatalf("%q: word %q folds again to %q", s, word, account.Fold(word))
			}
		}
	})
}
