package fill

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// Keys of the users service, in standard base64: what it seals and finds CPFs with must be what the fill used.
type Keys struct{ CPF, CPFIndex, Token string }

// sealer writes CPFs as the users service does.
type sealer struct {
	aead  cipher.AEAD
	index []byte
}

func newSealer(k Keys) (*sealer, error) {
	key, err := base64.StdEncoding.DecodeString(k.CPF)
	if err != nil {
		return nil, err
	}
	index, err := base64.StdEncoding.DecodeString(k.CPFIndex)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &sealer{aead, index}, err
}

func (s *sealer) seal(cpf string, id uuid.UUID) (sealed, index []byte) {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(cpf)+s.aead.Overhead())
	rand.Read(nonce) // never fails (crypto/rand)
	mac := hmac.New(sha256.New, s.index)
	mac.Write([]byte("cpf\x00" + cpf))
	return s.aead.Seal(nonce, nonce, []byte(cpf), []byte("cpf:"+id.String())), mac.Sum(nil)
}

// cpf n is a number with right check digits.
func cpf(n int) string {
	digits := []byte(strconv.Itoa(200_000_000 + n))
	for range 2 {
		sum := 0
		for i, d := range digits {
			sum += int(d-'0') * (len(digits) + 1 - i)
		}
		check := 11 - sum%11
		if check >= 10 {
			check = 0
		}
		digits = append(digits, byte('0'+check))
	}
	return string(digits)
}

// passwordHash is Password as the users service stores it: argon2id with OWASP's minimum. Everybody has the same one:
// another hash for each would take an hour, and checking one costs the same.
func passwordHash() string {
	const memory, passes, lanes = 19 * 1024, 2, 1
	salt := make([]byte, 16)
	rand.Read(salt) // never fails (crypto/rand)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, lanes,
		b64.EncodeToString(salt), b64.EncodeToString(argon2.IDKey([]byte(Password), salt, passes, memory, lanes, 32)))
}

// person n of a role: two or three names of those most frequent in Brazil, spread as names are: some are much more
// frequent than others.
func person(role string, n int) (Person, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Person{}, err
	}
	first, last := givenNames(), familyNames()
	pick := func(list []string, seed int) string {
		h := uint32(seed) * 2654435761 //nolint:gosec // a multiplicative hash: wrapping is meant
		u := float64(h>>8) / (1 << 24)
		return list[int(u*u*float64(len(list)))] // the earlier the more frequent
	}
	name := pick(first, n) + " " + pick(last, n+7_000_003)
	if n%3 != 0 {
		name += " " + pick(last, n+15_000_017)
	}
	return Person{ID: id, Role: role, Name: name, Email: fmt.Sprintf("%s.%d@%s.example", strings.ReplaceAll(fold(name), " ", "."), n, role)}, nil
}

func people(role string, count int) ([]Person, error) {
	list := make([]Person, count)
	for n := range list {
		var err error
		if list[n], err = person(role, n); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// fold is the key by which names are ordered and found: lower case, no accents.
func fold(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		switch {
		case unicode.IsMark(r):
		case unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// terms are what a listed doctor is found by.
func terms(name, crm string, specialties []string) []string {
	list := []string{"a:", "c:" + crm}
	words := strings.Fields(fold(name))
	slices.Sort(words)
	for _, word := range slices.Compact(words) {
		list = append(list, "w:"+word)
	}
	for _, code := range specialties {
		list = append(list, "s:"+code)
	}
	return list
}

// Specialties that doctors were given: a tenth of them each, some two.
func Specialties() []string {
	return []string{"cardiology", "dermatology", "pediatrics", "orthopedics", "psychiatry", "neurology", "ophthalmology",
		"general_practice", "gynecology_obstetrics", "endocrinology"}
}

func specialtiesOf(n int) []string {
	all := Specialties()
	list := []string{all[n%len(all)]}
	if n%7 == 0 {
		list = append(list, all[(n/7+1+n)%len(all)])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// crmOf is the doctor's number and state.
func crmOf(n int) (number, state string) {
	states := strings.Fields("SP RJ MG BA RS PR PE CE PA SC GO MA PB ES AM RN PI AL MT DF MS SE RO TO AC AP RR")
	return strconv.Itoa(10_000 + n), states[n%len(states)]
}

// since is when someone registered: spread over the last two years, the same for the same n.
func since(now time.Time, n int) time.Time {
	return now.Add(-time.Duration(n%(2*365*24)) * time.Hour).UTC().Truncate(time.Microsecond)
}

func givenNames() []string {
	return strings.Fields(`Maria José Ana João Antônio Francisco Carlos Paulo Pedro Lucas Luiz Marcos Luís Gabriel Rafael Francisca
Daniel Marcelo Bruno Eduardo Antônia Felipe Raimundo Rodrigo Adriana Juliana Márcia Fernanda Patrícia Aline Sandra Camila Amanda
Bruna Jéssica Letícia Júlia Luciana Vanessa Mariana Gabriela Vera Vitória Larissa Cláudia Beatriz Rita Luana Sônia Renata Eliane
Helena Alice Laura Sofia Isabela Manuela Heloísa Valentina Lorena Cecília Elisa Clara Íris Otávio Álvaro Caio Davi Heitor Miguel
Arthur Bernardo Théo Samuel Enzo Murilo Vicente Joaquim Benício Thiago André Leonardo Gustavo Fábio Sérgio Rogério Ricardo César`)
}

func familyNames() []string {
	return strings.Fields(`Silva Santos Oliveira Souza Rodrigues Ferreira Alves Pereira Lima Gomes Costa Ribeiro Martins Carvalho Almeida
Lopes Soares Fernandes Vieira Barbosa Rocha Dias Nascimento Andrade Moreira Nunes Marques Machado Mendes Freitas Cardoso Ramos
Gonçalves Santana Teixeira Araújo Pinto Correia Cavalcanti Melo Castro Campos Moura Azevedo Monteiro Batista Duarte Borges Prado
Guimarães Tavares Peixoto Figueiredo Coelho Siqueira Assunção Bezerra Viana Xavier Queiroz Leão Magalhães Antunes Brandão Fonseca`)
}
